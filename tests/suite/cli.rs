//! Real commands and their output: every exit code, every message for bad input, and the commands
//! of the documentation.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

#[test]
fn commands_print_what_they_should() {
    trycmd::TestCases::new()
        .case("tests/cli/*.trycmd")
        .case("README.md")
        .case("docs/*.md")
        // "true" would add GitHub annotations.
        .env("GITHUB_ACTIONS", "")
        .run();
}

/// Runs the program in `folder`, beside copies of two input files.
fn gradprobe(folder: &Path, arguments: &[&str]) -> Output {
    let data = Path::new("tests/cli/data").canonicalize().unwrap();
    for file in ["right.safetensors", "input-nan.safetensors"] {
        fs::copy(data.join(file), folder.join(file)).unwrap();
    }
    Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .args(arguments)
        .current_dir(folder)
        .env("GITHUB_ACTIONS", "")
        .output()
        .unwrap()
}

#[test]
fn the_layer_that_fails_is_saved_with_its_upstream_gradient() {
    let folder = tempfile::tempdir().unwrap();
    let example = |name: &str| {
        let path = format!("examples/{name}.safetensors");
        Path::new(&path)
            .canonicalize()
            .unwrap()
            .display()
            .to_string()
    };
    let wrong = example("mlp-no-mask");
    let saved = ["check", &wrong, "--save-failures", "saved", "--quiet"];
    assert_eq!(gradprobe(folder.path(), &saved).status.code(), Some(1));
    let again = gradprobe(folder.path(), &["check", "saved", "--quiet"]);
    assert_eq!(again.status.code(), Some(1));
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(
        text.starts_with("FAIL: relu: grad.norm is what relu gives if"),
        "{text}"
    );

    let numeric = [
        "check",
        &example("mlp"),
        "--wrt",
        "fc1.weight",
        "--numeric",
        "g.npy",
    ];
    assert_eq!(gradprobe(folder.path(), &numeric).status.code(), Some(0));
    // Of [32, 64] numbers in f64.
    assert_eq!(
        fs::metadata(folder.path().join("g.npy")).unwrap().len(),
        128 + 8 * 32 * 64
    );
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn results_are_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = BTreeSet::from(["right.safetensors", "input-nan.safetensors"].map(str::to_owned));
    let to_files = [
        "--device",
        "cpu",
        "--wrt",
        "input",
        "--json",
        "r.json",
        "--numeric",
        "g.npy",
    ];

    let bad = gradprobe(
        folder.path(),
        &[&["check", "input-nan.safetensors"], &to_files[..]].concat(),
    );
    assert_eq!(
        (bad.status.code(), names(folder.path())),
        (Some(2), inputs.clone())
    );
    // The first file is already open when the second one fails: neither may remain.
    let bad = gradprobe(
        folder.path(),
        &[
            "check",
            "right.safetensors",
            "--json",
            "r.json",
            "--numeric",
            "absent/g.npy",
        ],
    );
    assert_eq!(
        (bad.status.code(), names(folder.path())),
        (Some(2), inputs.clone())
    );

    let good = gradprobe(
        folder.path(),
        &[&["check", "right.safetensors"], &to_files[..]].concat(),
    );
    let expected: BTreeSet<String> = inputs
        .into_iter()
        .chain(["r.json", "g.npy"].map(str::to_owned))
        .collect();
    assert_eq!(
        (good.status.code(), names(folder.path())),
        (Some(0), expected)
    );
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(json["checks"][0]["verdict"], "pass");
    let numeric = fs::read(folder.path().join("g.npy")).unwrap();
    assert_eq!(numeric.len(), 128 + 6 * 8);
    let first = f64::from_le_bytes(numeric[128..136].try_into().unwrap());
    assert!((first - 1.6181e-3).abs() < 1e-7, "{first}");
}

/// The same input on the same device gives the same bytes, apart from the seconds.
#[test]
fn reports_repeat_to_the_byte() {
    for device in ["cpu", "software"] {
        let report = || {
            let arguments = [
                "check",
                "examples/digits-accumulated.safetensors",
                "--json",
                "-",
                "--device",
                device,
            ];
            let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
                .args(arguments)
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(1),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let text = String::from_utf8(output.stdout).unwrap();
            let timed = |line: &&str| {
                ["\"load\":", "\"compute\":", "\"total\":"]
                    .iter()
                    .any(|key| line.contains(key))
            };
            let lines: Vec<&str> = text.lines().filter(|line| !timed(line)).collect();
            assert_eq!(lines.len() + 3, text.lines().count());
            let text = lines.join("\n");
            let (before, rest) = text.split_once("\"check_seconds\": [").unwrap();
            before.to_owned() + rest.split_once(']').unwrap().1
        };
        assert_eq!(report(), report());
    }
}

/// `--device cpu` loads no Vulkan driver, even if there is one.
#[cfg(target_os = "linux")]
#[test]
fn the_cpu_engine_starts_no_driver() {
    let log = |device: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args(["check", "examples/digits.safetensors", "--device", device])
            // The dynamic linker then prints the libraries that it opens.
            .env("LD_DEBUG", "files")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).contains("libvulkan")
    };
    assert!(!log("cpu"));
    assert!(log("software"), "LD_DEBUG does not show the driver");
}

/// Saves a problem whose check would take a minute, so that it can be interrupted.
#[cfg(unix)]
fn long_problem(path: &Path) {
    use safetensors::tensor::{Dtype, TensorView};
    let (n, d, k) = (3000, 512, 64);
    let values = |count: usize| -> Vec<u8> {
        let value = |i: usize| (i as f32 * 0.7).sin();
        (0..count).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let (input, weight) = (values(n * d), values(k * d));
    let target: Vec<u8> = (0..n)
        .flat_map(|i| ((i % k) as i64).to_le_bytes())
        .collect();
    let view = |dtype, shape: Vec<usize>, bytes| TensorView::new(dtype, shape, bytes).unwrap();
    let tensors = [
        ("input", view(Dtype::F32, vec![n, d], &input)),
        ("weight", view(Dtype::F32, vec![k, d], &weight)),
        ("target", view(Dtype::I64, vec![n], &target)),
    ];
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupted_check_reports_what_it_has_and_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.safetensors");
    long_problem(&file);
    let child = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .args([
            "check",
            "long.safetensors",
            "--method",
            "forward-pass",
            "--self-test",
        ])
        .args(["--device", "cpu", "--json", "r.json", "--numeric", "g.npy"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The output files appear when the computation begins.
    while names(folder.path()).len() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let left = BTreeSet::from(["long.safetensors", "r.json"].map(str::to_owned));
    assert_eq!(names(folder.path()), left);
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(json["interrupted"], true);
    let compared = json["checks"][0]["rows"]["compared"].as_u64().unwrap();
    assert!((1..3000).contains(&compared), "{compared}");
}

/// HTML, JUnit XML, annotations on stdout, and the job summary, to which other steps append too.
#[test]
fn reports_go_where_ci_looks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("summary.md"), "before\n").unwrap();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args([
                "check",
                "tests/cli/data/wrong-sum.safetensors",
                "--device",
                "cpu",
            ])
            .args(arguments)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", place("summary.md"))
            .output()
            .unwrap()
    };
    let (html, junit) = (place("report.html"), place("report.xml"));
    let to_files = [
        "--html",
        html.to_str().unwrap(),
        "--junit",
        junit.to_str().unwrap(),
    ];
    let output = run(&to_files);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last = stdout.lines().last().unwrap();
    assert!(
        last.starts_with("::error file=tests/cli/data/wrong-sum.safetensors,title="),
        "{last}"
    );
    assert!(stdout.starts_with("FAIL: "), "{stdout}");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert!(read(&html).trim_end().ends_with("</html>"));
    assert!(read(&junit).trim_end().ends_with("</testsuites>"));
    let summary = read(&place("summary.md"));
    assert!(
        summary.starts_with("before\n## gradprobe\n") && summary.contains("sum-instead-of-mean")
    );

    // Another format has no annotations.
    for format in [["--format", "text"], ["--json", "-"]] {
        let stdout = String::from_utf8(run(&format).stdout).unwrap();
        assert!(!stdout.contains("::error"), "{stdout}");
    }
    // A document takes the place of the text.
    for (flag, end) in [("--html", "</html>"), ("--junit", "</testsuites>")] {
        let output = run(&[flag, "-"]);
        assert_eq!(output.status.code(), Some(1));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(
            stdout.starts_with('<') && stdout.trim_end().ends_with(end),
            "{stdout}"
        );
        assert!(!Path::new("-").exists());
    }
    let both = run(&["--html", "-", "--json", "-"]);
    assert_eq!(
        (both.status.code(), both.stdout.as_slice()),
        (Some(2), &b""[..])
    );
    let stderr = String::from_utf8(both.stderr).unwrap();
    assert!(stderr.contains("--json and --html are both -"), "{stderr}");
    // One file cannot hold two reports.
    let twice = run(&[
        "--html",
        junit.to_str().unwrap(),
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8(twice.stderr).unwrap().contains("--junit"));
}

/// The short help has a line for each flag, under headings, and examples at its end. Stories and
/// tables fit a terminal of 80 columns.
#[test]
fn help_and_tables_are_easy_to_scan() {
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str]| {
        let output = gradprobe(folder.path(), arguments);
        String::from_utf8(output.stdout).unwrap()
    };
    for command in ["check", "sweep", "bench"] {
        let help = print(&[command, "-h"]);
        let (flags, examples) = help.split_once("\nExamples:\n").unwrap();
        let continued = flags.lines().find(|line| line.starts_with(&" ".repeat(9)));
        assert_eq!(continued, None, "{command}");
        assert!(
            examples
                .lines()
                .all(|line| line.starts_with("  gradprobe "))
        );
    }
    let help = print(&["check", "-h"]);
    for heading in [
        "Loss and gradients:",
        "Tolerance:",
        "Rows:",
        "Device:",
        "Output:",
    ] {
        assert!(help.contains(&format!("\n{heading}\n")), "{heading}");
    }
    let sweep = ["sweep", "right.safetensors", "--device", "cpu"];
    let bench = [
        "bench", "-n", "64", "-d", "8", "--repeat", "1", "--device", "cpu",
    ];
    for arguments in [&["demo"][..], &sweep, &bench] {
        let text = print(arguments);
        let longest = text.lines().max_by_key(|line| line.chars().count());
        let longest = longest.unwrap();
        assert!(longest.chars().count() <= 80, "{arguments:?}: {longest}");
    }
}

#[test]
fn completions_manual_and_documentation_have_every_flag() {
    let print = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = print(&["man"]).replace('\\', "");
    let help = print(&["check", "--help"]);
    let flags: BTreeSet<&str> = help
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 3)
        .collect();
    assert!(flags.len() > 25, "{flags:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = print(&["completions", shell]);
        for flag in &flags {
            let name = if shell == "fish" { &flag[2..] } else { flag };
            assert!(
                script.contains(name),
                "the completions for {shell} lack {flag}"
            );
        }
    }
    let documentation = fs::read_to_string("docs/configuration.md").unwrap();
    for flag in flags {
        assert!(manual.contains(flag), "the manual lacks {flag}");
        assert!(
            documentation.contains(flag),
            "docs/configuration.md lacks {flag}"
        );
    }
}

/// A saved example fails with the same cause, and is small if it can be. A pass saves nothing.
#[test]
fn saved_failures_fail_with_the_same_cause() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("failures/of today");
    let check = |file: &Path, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args(["check", "--device", "cpu", "--json", "-"])
            .arg(file)
            .args(more)
            .env("GITHUB_ACTIONS", "")
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = report["checks"][0]["findings"][0]["code"]
            .as_str()
            .unwrap_or("none")
            .to_owned();
        let rows = report["problem"]["n"].as_u64().unwrap();
        (output, code, rows)
    };
    let save = ["--save-failures", saved.to_str().unwrap()];
    let (output, ..) = check(Path::new("tests/cli/data/right.safetensors"), &save);
    assert!(output.status.success() && !saved.exists());
    for (file, code, most_rows) in [
        ("examples/digits-accumulated.safetensors", "accumulated", 1),
        ("tests/cli/data/wrong-last-rows.safetensors", "rows-zero", 2),
        // The factor is the number of samples, which fewer rows would change.
        (
            "tests/cli/data/wrong-sum.safetensors",
            "sum-instead-of-mean",
            12,
        ),
    ] {
        let (output, found, _) = check(Path::new(file), &save);
        assert_eq!(
            (output.status.code(), found.as_str()),
            (Some(1), code),
            "{file}"
        );
        let stderr = String::from_utf8(output.stderr).unwrap();
        let path = saved.join(file.replace('/', "_") + "-grad.safetensors");
        assert!(
            stderr.contains(&format!("'{}'", path.display())),
            "{stderr}"
        );
        let (output, again, rows) = check(&path, &[]);
        assert_eq!(
            (output.status.code(), again.as_str()),
            (Some(1), code),
            "{file}"
        );
        assert!(rows <= most_rows, "{file}: {rows} rows");
    }
    assert_eq!(names(&saved).len(), 3);
    // If the example cannot be saved, the report is still printed.
    let taken = ["--save-failures", "Cargo.toml"];
    let (output, code, _) = check(
        Path::new("tests/cli/data/wrong-last-rows.safetensors"),
        &taken,
    );
    assert_eq!(
        (output.status.code(), code.as_str()),
        (Some(2), "rows-zero")
    );
}

/// gradprobe.toml applies in its folder and all below. Its paths are relative to its folder.
#[test]
fn settings_apply_in_the_folders_below() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("cases/more");
    fs::create_dir_all(&below).unwrap();
    let settings = "files = ['cases']\ndevice = 'cpu'\nhtml = 'page.html'\njson = '-'\n";
    fs::write(folder.path().join("gradprobe.toml"), settings).unwrap();
    let data = Path::new("tests/cli/data/right.safetensors");
    fs::copy(data, below.join("right.safetensors")).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .arg("check")
        .current_dir(&below)
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    // The command repeats the check without the file.
    assert_eq!(
        report["command"],
        "gradprobe check --device=cpu ../../cases --html=../../page.html --json=-"
    );
    assert!(folder.path().join("page.html").is_file());
}

/// Tensors in .npy files, too, are found from the folders below.
#[test]
fn every_path_in_settings_is_relative_to_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let mut settings = "device = 'cpu'\n".to_owned();
    for name in ["input", "weight", "bias", "target", "grad"] {
        let file = format!("{name}.npy");
        let data = Path::new("tests/cli/data").join(&file);
        fs::copy(data, folder.path().join(&file)).unwrap();
        settings += &format!("{name} = '{file}'\n");
    }
    fs::write(folder.path().join("gradprobe.toml"), settings).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
        .arg("check")
        .current_dir(&below)
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn colours_are_for_terminals_unless_forced() {
    let coloured = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args([
                "check",
                "tests/cli/data/right.safetensors",
                "--device",
                "cpu",
            ])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        output.stdout.contains(&b'\x1b')
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
}

/// Steps are printed to stderr only.
#[test]
fn verbose_prints_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = gradprobe(
        folder.path(),
        &["check", "right.safetensors", "--device", "cpu"],
    );
    assert_eq!(quiet.stderr, b"");
    fs::write(folder.path().join("gradprobe.toml"), "rtol = 1e-3").unwrap();
    let verbose = |flag| {
        let arguments = ["check", "right.safetensors", "--device", "software", flag];
        String::from_utf8(gradprobe(folder.path(), &arguments).stderr).unwrap()
    };
    let steps = verbose("-v");
    for step in [
        "settings of gradprobe.toml: --rtol=0.001",
        "right.safetensors: input [3, 2]",
        "opening ",
        "grad: 6 entries",
        "wrong, 0 undecided",
    ] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    assert!(!steps.contains("self-probe"), "{steps}");
    assert!(verbose("-vv").contains("self-probe: "));
}
