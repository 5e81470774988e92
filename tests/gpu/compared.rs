//! A gradient gets the same verdict and findings on the device and on the host and, if it is wrong,
//! the same wrong entries.

use crate::devices::devices;
use crate::framework::{gradient, tensor};
use gradprobe::{
    check::{self, CompareOn, Listener, Options, Subject},
    device::Device,
    loss::{CrossEntropy, Reduction},
    problem::{Problem, Wrt},
    report::{Check, ComparedOn, Report, Tally, Verdict},
    scheme::{Precision, Scheme},
    tensor::{Dtype, Tensor},
};

/// Bytes for the arrays of a call. Chosen small, so that a check takes many calls.
const MEMORY: u64 = 1 << 18;

fn run(
    problem: &Problem,
    (wrt, dtype, values): (Wrt, Dtype, &[f64]),
    options: &Options,
    compare: CompareOn,
    device: &Device,
    listener: &mut dyn Listener,
) -> Report {
    let subject = Subject {
        wrt,
        gradient: Some(tensor(dtype, &problem.gradient_shape(wrt), values)),
    };
    let options = Options {
        compare,
        ..options.clone()
    };
    check::check(problem, &[subject], &options, device, listener).unwrap()
}

/// Returns the tally behind a check that was made here.
fn tally(check: &Check) -> &Tally {
    check.tally().unwrap()
}

/// Checks a gradient on the device and on the host. Compares everything that must be equal, and
/// returns the two checks, the device's first.
fn agree(
    what: &str,
    problem: &Problem,
    gradient: (Wrt, Dtype, &[f64]),
    options: &Options,
    device: &Device,
) -> [Check; 2] {
    let [host, found] = [CompareOn::Host, CompareOn::Device].map(|compare| {
        let mut report = run(problem, gradient, options, compare, device, &mut ());
        report.checks.remove(0)
    });
    assert_eq!(host.compared, ComparedOn::Host, "{what}");
    assert_eq!(found.verdict, host.verdict, "{what}");
    let findings = |check: &Check| {
        let all = check.findings.iter();
        let all = all.map(|it| (it.code, it.step, it.message.clone(), it.places.clone()));
        all.collect::<Vec<_>>()
    };
    assert_eq!(findings(&found), findings(&host), "{what}");
    assert_eq!(found.tried, host.tried, "{what}");
    let (a, b) = (tally(&found), tally(&host));
    assert_eq!(a.counts, b.counts, "{what}");
    assert_eq!(a.sensitivity.caught, b.sensitivity.caught, "{what}");
    assert_eq!(a.places, b.places, "{what}");
    assert_eq!(a.kept.others, b.kept.others, "{what}");
    if a.counts.wrong > 0 {
        let wrong = |tally: &Tally| {
            let worst = tally.kept.worst.iter().copied();
            worst
                .filter(|entry| entry.severity() > 1.0)
                .collect::<Vec<_>>()
        };
        // As text, because a NaN does not equal itself.
        let [a, b] = [a, b].map(|tally| format!("{:?}", wrong(tally)));
        assert_eq!(a, b, "{what}");
    } else {
        let [a, b] = [a, b].map(|tally| tally.kept.worst[0].severity());
        assert!((a - b).abs() <= 0.1 * b + 0.01, "{what}: {a} {b}");
    }
    [found, host]
}

/// Compares the numbers that a report shows.
fn agree_in_digits(what: &str, [found, host]: &[Check; 2]) {
    let (a, b) = (tally(found), tally(host));
    let close = |name: &str, a: f64, b: f64, by: f64| {
        let near = (a - b).abs() <= by * b.abs() || a == b;
        assert!(near, "{what}: {name} {a:e} {b:e}");
    };
    let u = host.precision.unit_roundoff();
    close(
        "n·n",
        a.sums.numeric_numeric.value(),
        b.sums.numeric_numeric.value(),
        1e-4,
    );
    close(
        "tolerance",
        a.sums.tolerance_tolerance.value(),
        b.sums.tolerance_tolerance.value(),
        1e-4,
    );
    if let (Some(a), Some(b)) = (found.scale, host.scale) {
        let by = 8.0 * u + 1e-3 * (b.factor - 1.0).abs();
        assert!((a.factor - b.factor).abs() <= by, "{what}: {a:?} {b:?}");
        close("allowed", a.allowed, b.allowed, 1e-3);
    }
    // Errors as small as rounding differ between the two sides, and a detectable error contains
    // one.
    let rounding = 8.0 * u / host.detectable;
    close(
        "detectable",
        found.detectable,
        host.detectable,
        1e-3 + rounding,
    );
    let noise = |error: f64| 0.05 + 8.0 * u / error.max(u);
    let (a, b) = (found.rel_err, host.rel_err);
    close("mean", a.mean, b.mean, noise(b.mean));
    close("median", a.median, b.median, noise(b.median));
    close("max", a.max, b.max, noise(b.max));
}

fn on_devices(test: impl Fn(&Device)) {
    for mut device in devices() {
        device.limit_memory(MEMORY);
        test(&Device::Gpu(Box::new(device)));
    }
}

fn problem() -> Problem {
    crate::problems::random(5, 3000, 70, 6, 1.0, Reduction::Mean)
}

type Corrupt = fn(&mut [f64]);

/// The cases: name, corruption of the gradient, true if an entry is wrong, and verdict.
const CASES: [(&str, Corrupt, bool, Verdict); 8] = [
    ("right", |_| {}, false, Verdict::Pass),
    (
        "zeros",
        |g| g.iter_mut().for_each(|g| *g = 0.0),
        true,
        Verdict::Fail,
    ),
    (
        "tenfold",
        |g| g.iter_mut().for_each(|g| *g *= 10.0),
        true,
        Verdict::Fail,
    ),
    ("one entry", |g| g[g.len() / 2] *= 1.01, true, Verdict::Fail),
    (
        "sign in some rows",
        |g| g[..1400].iter_mut().for_each(|g| *g = -*g),
        true,
        Verdict::Fail,
    ),
    ("not finite", |g| g[1234] = f64::NAN, true, Verdict::Fail),
    (
        "infinite",
        |g| g[g.len() - 1] = f64::INFINITY,
        true,
        Verdict::Fail,
    ),
    (
        "a little too small",
        |g| g.iter_mut().for_each(|g| *g *= 1.0 - 1e-5),
        false,
        Verdict::Fail,
    ),
];

#[test]
fn verdict_and_findings_do_not_depend_on_where_the_gradient_is_compared() {
    on_devices(|device| {
        let problem = problem();
        for wrt in [Wrt::Input, Wrt::Logits] {
            let right = gradient(&problem, wrt, Dtype::F32);
            for (name, corrupt, has_wrong, verdict) in CASES {
                let mut values = right.clone();
                corrupt(&mut values);
                let what = format!("{name}, {wrt:?}");
                let subject = (wrt, Dtype::F32, values.as_slice());
                let reports = agree(&what, &problem, subject, &Options::default(), device);
                agree_in_digits(&what, &reports);
                let [check, _] = reports;
                assert_eq!(check.verdict, verdict, "{what}");
                if !has_wrong {
                    assert_eq!(check.compared, ComparedOn::Device, "{what}");
                }
            }
        }
    });
}

#[test]
fn types_options_and_tolerances_change_neither_verdict_nor_findings() {
    on_devices(|device| {
        let problem = problem();
        let with = |loss: CrossEntropy| {
            let target: Vec<i64> = (0..3000).map(|row| row * 7 % 6).collect();
            let (input, weight) = (problem.input().clone(), problem.weight().clone());
            let bias = Tensor::from_f64(&[6], &problem.bias::<f64>());
            let target = Tensor::from_classes(&target);
            Problem::new(input, weight, Some(bias), &target, loss).unwrap()
        };
        let smoothed = with(CrossEntropy {
            label_smoothing: 0.1,
            class_weight: Some(vec![0.5, 2.0, 1.0, 3.0, 1.0, 0.25]),
            ignore_index: 2,
            ..CrossEntropy::default()
        });
        // Gradients whose squares underflow in f32.
        let tiny = with(CrossEntropy {
            reduction: Reduction::Sum,
            class_weight: Some(vec![1e-26; 6]),
            ..CrossEntropy::default()
        });
        let saturated = crate::problems::random(8, 3000, 70, 6, 60.0, Reduction::Mean);
        let given = Options {
            rtol: Some(1e-3),
            atol: Some(1e-6),
            ..Options::default()
        };
        let five_point = Options {
            scheme: Scheme::FivePoint,
            ..Options::default()
        };
        let in_f64 = Options {
            precision: Some(Precision::F64),
            ..Options::default()
        };
        let plain = Options::default();
        let mut cases = vec![
            ("smoothed", &smoothed, Dtype::F32, &plain),
            ("tiny", &tiny, Dtype::F32, &plain),
            ("saturated", &saturated, Dtype::F32, &plain),
            ("given tolerances", &problem, Dtype::F32, &given),
            ("five-point", &problem, Dtype::F32, &five_point),
            ("f16", &problem, Dtype::F16, &plain),
            ("bf16", &smoothed, Dtype::BF16, &plain),
        ];
        if matches!(device, Device::Gpu(device) if device.has_f64()) {
            cases.push(("f64", &smoothed, Dtype::F64, &plain));
            cases.push(("f32 in f64", &problem, Dtype::F32, &in_f64));
        }
        for (name, problem, dtype, options) in cases {
            for wrt in [Wrt::Input, Wrt::Logits] {
                let right = gradient(problem, wrt, dtype);
                for (factor, row) in [(1.0, 0), (1.25, 0), (1.25, 2990)] {
                    let mut values = right.clone();
                    let begin = row * problem.columns(wrt);
                    values[begin..].iter_mut().for_each(|g| *g *= factor);
                    let what = format!("{name}, {wrt:?}, times {factor} from row {row}");
                    let reports = agree(&what, problem, (wrt, dtype, &values), options, device);
                    // Devices may flush subnormal numbers of f32 to 0.
                    if name != "saturated" {
                        agree_in_digits(&what, &reports);
                    }
                    let [check, _] = reports;
                    if factor == 1.0 {
                        assert_eq!(check.compared, ComparedOn::Device, "{what}");
                    }
                }
            }
        }
    });
}

/// Interrupts a check after its second call of the engine; counts the calls.
struct Impatient(u64);

impl Listener for Impatient {
    fn progress(&mut self, _done: u64, _all: u64) {
        self.0 += 1;
    }

    fn is_interrupted(&self) -> bool {
        self.0 == 2
    }
}

#[test]
fn an_interrupted_check_reports_the_rows_before_it() {
    on_devices(|device| {
        let problem = problem();
        let mut values = gradient(&problem, Wrt::Input, Dtype::F32);
        let last = values.len() - 1;
        values[last] = 1.0;
        let subject = (Wrt::Input, Dtype::F32, values.as_slice());
        let options = Options::default();
        let listener = &mut Impatient(0);
        let report = run(
            &problem,
            subject,
            &options,
            CompareOn::Device,
            device,
            listener,
        );
        assert!(report.interrupted);
        let check = &report.checks[0];
        let rows = check.rows.as_ref().unwrap().compared;
        assert!(rows > 0 && rows < 3000, "{rows}");
        assert_eq!(check.entries, rows as u64 * 70);
        assert_eq!((check.wrong, check.compared), (0, ComparedOn::Device));
        assert_eq!(tally(check).kept.others.len(), 6);
    });
}
