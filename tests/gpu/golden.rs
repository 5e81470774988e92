//! Gradients of PyTorch's autograd pass. tests/golden/make.py makes the files.

use std::path::PathBuf;

use crate::devices::{CPU, all_devices};
use crate::exact::{distance, exact};
use gradprobe::{
    check::{self, Options},
    io::{self, Inputs, Request, Source},
    problem::Wrt,
    report::{Source as Origin, Verdict},
    scheme::Method,
    tensor::Dtype,
};

fn cases() -> Vec<(PathBuf, Inputs)> {
    let files = std::fs::read_dir("tests/golden")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 14 + 48);
    let load = |path: PathBuf| {
        let case = io::load(&Source::File(path.clone()), &Request::default()).unwrap();
        let has_bias = !path.to_str().unwrap().contains("no-bias");
        let gradients = 3 + usize::from(has_bias);
        assert_eq!(case.subjects.len(), gradients, "{}", path.display());
        (path, case)
    };
    files.into_iter().map(load).collect()
}

#[test]
fn gradients_of_pytorch_pass_on_every_device() {
    for device in all_devices() {
        for (
            path,
            Inputs {
                problem, subjects, ..
            },
        ) in cases()
        {
            let report =
                check::check(&problem, &subjects, &Options::default(), &device, &mut ()).unwrap();
            assert_eq!(
                report.verdict,
                Verdict::Pass,
                "{} on {}",
                path.display(),
                report.device.name
            );
            for check in &report.checks {
                assert_eq!(
                    (check.source, check.wrong, check.undecided),
                    (Origin::Given, 0, 0)
                );
            }
        }
    }
}

/// Other tests rely on `exact`, so it is compared with PyTorch here.
#[test]
fn the_exact_gradient_equals_pytorchs() {
    for (
        path,
        Inputs {
            problem, subjects, ..
        },
    ) in cases()
    {
        for subject in subjects {
            let gradient = subject.gradient.unwrap();
            let error = distance(&gradient.values::<f64>(), &exact(&problem, subject.wrt));
            let bound = match gradient.dtype() {
                Dtype::F64 => 1e-14,
                Dtype::F32 => 1e-6,
                _ => 2e-2,
            };
            assert!(
                error < bound,
                "{} {:?}: {error:e}",
                path.display(),
                subject.wrt
            );
        }
    }
}

/// Plain forward passes in f64 use nothing but the loss itself.
#[test]
fn forward_passes_agree_with_pytorch() {
    for (
        path,
        Inputs {
            problem, subjects, ..
        },
    ) in cases()
    {
        let options = Options {
            method: Method::ForwardPass,
            ..Options::default()
        };
        let report = check::check(&problem, &subjects, &options, &CPU, &mut ()).unwrap();
        for check in &report.checks {
            assert_eq!(check.wrong, 0, "{} {:?}", path.display(), check.wrt);
            // A saturated loss of 100 leaves too few digits for a difference, and the tolerance of
            // f64 gradients is below the noise of any subtraction.
            let coarse = check.dtype != Dtype::F64 && !path.to_str().unwrap().contains("saturated");
            if coarse && check.wrt == Wrt::Input {
                assert_eq!(check.verdict, Verdict::Pass, "{}", path.display());
            }
        }
    }
}

/// Sequences, images, pixels, upstream gradients, parts of a batch and autocast.
#[test]
fn gradients_of_pytorch_in_other_forms_pass_on_every_device() {
    let files = std::fs::read_dir("tests/golden/forms").unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 9);
    for device in all_devices() {
        for path in &files {
            let source = Source::File(path.clone());
            let inputs = io::load(&source, &Request::default()).unwrap();
            let (problem, subjects) = (&inputs.problem, &inputs.subjects);
            let report = check::check(problem, subjects, &Options::default(), &device, &mut ());
            let (report, name) = (report.unwrap(), path.display());
            let on = &report.device.name;
            assert_eq!(report.verdict, Verdict::Pass, "{name} on {on}");
            for subject in subjects.iter().filter(|_| !problem.is_of_logits()) {
                let gradient = subject.gradient.as_ref().unwrap().values::<f64>();
                let error = distance(&gradient, &exact(problem, subject.wrt));
                let bound = if problem.computed_in().is_some() {
                    2e-2
                } else {
                    1e-6
                };
                assert!(error < bound, "{name} {:?}: {error:e}", subject.wrt);
            }
        }
    }
}
