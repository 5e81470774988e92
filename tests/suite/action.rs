//! The GitHub Action: the commands of action.yml, run as a job runs them.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The action's inputs and their defaults, as in action.yml.
const DEFAULTS: [(&str, &str); 6] = [
    ("paths", ""),
    ("wrt", ""),
    ("rtol", ""),
    ("device", "auto"),
    ("fail-on-inconclusive", "true"),
    ("report", "gradprobe.html"),
];

struct Step {
    line: String,
    /// Environment variables, each with the input that is its value.
    environment: Vec<(String, String)>,
}

/// Returns the steps with a `run:` line. The file is read as text; only its present layout is
/// supported.
fn steps(action: &str) -> Vec<Step> {
    let steps = action.split("    - name: ").skip(1);
    let steps = steps.filter_map(|step| {
        let line = step
            .lines()
            .find_map(|line| line.trim().strip_prefix("run: "))?;
        let line = line.strip_prefix('\'')?.strip_suffix('\'')?.to_owned();
        let pairs = step
            .lines()
            .filter_map(|line| line.trim().split_once(": ${{ inputs."));
        let environment = pairs.map(|(name, input)| {
            let input = input.strip_suffix(" }}").unwrap();
            (name.to_owned(), input.to_owned())
        });
        Some(Step {
            line,
            environment: environment.collect(),
        })
    });
    steps.collect()
}

/// Runs the steps in a folder, up to the first that fails.
fn run(folder: &Path, inputs: &[(&str, &str)]) -> Vec<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let action = std::fs::read_to_string(root.join("action.yml")).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_gradprobe"));
    let path = [program.parent().unwrap().to_owned()];
    let others = env::split_paths(&env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let path = env::join_paths(path.into_iter().chain(others)).unwrap();
    let mut outputs = Vec::new();
    for step in steps(&action) {
        let value = |name: &str| {
            let mut all = inputs.iter().chain(&DEFAULTS);
            all.find(|(it, _)| *it == name)
                .map(|(_, value)| *value)
                .unwrap()
        };
        let environment = step
            .environment
            .iter()
            .map(|(name, input)| (name, value(input)));
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &step.line])
            .current_dir(folder)
            .env("GITHUB_ACTION_PATH", root)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", folder.join("summary.md"))
            .env("PATH", &path)
            .envs(environment)
            .output()
            .unwrap();
        let failed = !output.status.success();
        outputs.push(output);
        if failed {
            break;
        }
    }
    outputs
}

fn data(names: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/data");
    let paths = names
        .iter()
        .map(|name| root.join(name).display().to_string() + "\n");
    paths.collect()
}

#[test]
fn every_input_is_used_and_has_its_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let action = std::fs::read_to_string(root.join("action.yml")).unwrap();
    let (inputs, _) = action.split_once("\nruns:").unwrap();
    let (_, inputs) = inputs.split_once("\ninputs:\n").unwrap();
    let names = inputs
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: BTreeSet<&str> = names
        .map(|line| line.trim().trim_end_matches(':'))
        .collect();
    assert_eq!(names, DEFAULTS.map(|(name, _)| name).into());
    let steps = steps(&action);
    assert_eq!(steps.len(), 3);
    let used = steps.iter().flat_map(|step| &step.environment);
    let used: BTreeSet<&str> = used.map(|(_, input)| input.as_str()).collect();
    assert_eq!(used, names);
}

#[test]
fn a_job_with_right_gradients_succeeds_and_writes_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let paths = data(&["right.npz", "right.safetensors"]);
    let outputs = run(
        folder.path(),
        &[("paths", &paths), ("wrt", "input"), ("device", "cpu")],
    );
    let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [Some(0); 3], "{outputs:?}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("gradprobe.html").contains("All 2 files pass."));
    assert!(read("summary.md").contains("All 2 files pass."));
    let stdout = String::from_utf8_lossy(&outputs[2].stdout);
    assert!(
        !stdout.contains("::notice") && !stdout.contains("::error"),
        "{stdout}"
    );
}

#[test]
fn a_job_with_a_wrong_gradient_fails_with_an_annotation() {
    let folder = tempfile::tempdir().unwrap();
    let paths = data(&["wrong-sum.safetensors"]);
    let inputs = [
        ("paths", paths.as_str()),
        ("report", "a page.html"),
        ("device", "software"),
    ];
    let outputs = run(folder.path(), &inputs);
    let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(1)], "{outputs:?}");
    assert!(String::from_utf8_lossy(&outputs[2].stdout).contains("::error file="));
    assert!(folder.path().join("a page.html").exists());
}

#[test]
fn an_inconclusive_check_fails_a_job_only_if_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let paths = data(&["right.safetensors"]);
    for (fails, code) in [("true", 1), ("false", 0)] {
        // No error is larger than such a tolerance.
        let inputs = [
            ("paths", paths.as_str()),
            ("rtol", "1e9"),
            ("device", "cpu"),
            ("fail-on-inconclusive", fails),
        ];
        let outputs = run(folder.path(), &inputs);
        assert_eq!(
            outputs.last().unwrap().status.code(),
            Some(code),
            "{outputs:?}"
        );
    }
}
