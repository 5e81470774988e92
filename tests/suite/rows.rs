//! A part of a gradient is checked as it would be within the whole: a range of rows, a random draw,
//! and the rows before an interruption.

use crate::framework::{gradient, tensor};
use gradprobe::{
    check::{self, Listener, Options, RandomRows, Subject},
    device::Device,
    error::Error,
    loss::Reduction,
    problem::{Problem, Wrt},
    report::{Check, Code, Comparison, Coverage, Ranges, Report, Verdict},
    tensor::Dtype,
};

const CPU: Device = Device::Cpu { note: None };

fn subject(problem: &Problem, wrt: Wrt, values: &[f64]) -> Subject {
    Subject {
        wrt,
        gradient: Some(tensor(Dtype::F32, &problem.gradient_shape(wrt), values)),
    }
}

fn run(problem: &Problem, subject: &Subject, options: &Options) -> Result<Report, Error> {
    let subjects = std::slice::from_ref(subject);
    check::check(problem, subjects, options, &CPU, &mut ())
}

fn rows(rows: std::ops::Range<usize>) -> Options {
    Options {
        rows: Some(rows),
        ..Options::default()
    }
}

fn sample(rows: usize, seed: u64) -> Options {
    Options {
        sample: Some(RandomRows { rows, seed }),
        ..Options::default()
    }
}

/// Returns a problem with a mean over samples, and a gradient whose rows 30 to 39 are zero.
fn problem_with_zero_rows() -> (Problem, Subject) {
    let problem = crate::problems::random(3, 60, 5, 4, 1.0, Reduction::Mean);
    let mut values = gradient(&problem, Wrt::Input, Dtype::F32);
    values[30 * 5..40 * 5].fill(0.0);
    let subject = subject(&problem, Wrt::Input, &values);
    (problem, subject)
}

/// Returns the comparison behind a check that was made here.
fn comparison(check: &Check) -> &Comparison {
    check.comparison.as_deref().unwrap()
}

fn coverage(check: &Check) -> &Coverage {
    &comparison(check).coverage
}

#[test]
fn a_range_gets_the_verdict_that_it_has_within_the_whole() {
    let (problem, subject) = problem_with_zero_rows();
    let whole = run(&problem, &subject, &Options::default()).unwrap();
    let right = run(&problem, &subject, &rows(0..30)).unwrap();
    assert_eq!(right.verdict, Verdict::Pass);
    assert_eq!(coverage(&right.checks[0]).ranges, Ranges::from(0..30));

    let part = run(&problem, &subject, &rows(25..50)).unwrap();
    let (check, of_whole) = (&part.checks[0], &whole.checks[0]);
    assert_eq!(check.entries, 25 * 5);
    let wrong_rows = |check| &comparison(check).tally.places.rows;
    assert_eq!(wrong_rows(check), wrong_rows(of_whole));
    assert_eq!(check.worst[0], of_whole.worst[0]);
    assert_eq!(check.findings[0].code, Code::RowsZero);
    assert_eq!(check.findings[0].places.rows, Ranges::from(30..40));
    assert!(
        check.findings[0].message.contains("rows 30 to 39"),
        "{}",
        check.findings[0].message
    );
    let location = check.location.as_ref().unwrap();
    assert_eq!(location.text, "only in rows 30 to 39");
}

#[test]
fn a_seed_repeats_a_draw_and_the_whole_is_diagnosed() {
    let problem = crate::problems::random(4, 500, 6, 5, 1.0, Reduction::Mean);
    let mut values = gradient(&problem, Wrt::Input, Dtype::F32);
    // Each row is in the place of the previous one. A draw alone cannot show that.
    values.rotate_left(6);
    let subject = subject(&problem, Wrt::Input, &values);
    let draw = |seed| run(&problem, &subject, &sample(50, seed)).unwrap().checks;
    let check = &draw(7)[0];
    assert_eq!(check.tally(), draw(7)[0].tally());
    assert_ne!(coverage(check), coverage(&draw(8)[0]));
    assert_eq!(check.entries, 50 * 6);
    assert_eq!(check.findings[0].code, Code::RowsPermuted);
    let drawn: Vec<usize> = coverage(check).ranges.iter().collect();
    assert_eq!(drawn.len(), 50);
    for entry in &check.worst {
        let [row, column] = entry.index[..] else {
            panic!("a place in a matrix")
        };
        assert!(drawn.contains(&row));
        assert_eq!(entry.analytic, f64::from(values[row * 6 + column] as f32));
    }
    // 1 - (1 - share)^50 is 99 %.
    let share = coverage(check).draw.as_ref().unwrap().seen_share;
    assert!(((1.0 - share).powi(50) - 0.01).abs() < 1e-12);
    // A draw of more rows than there are covers all rows.
    let all = run(&problem, &subject, &sample(501, 0)).unwrap();
    let coverage_of_all = coverage(&all.checks[0]);
    assert!(coverage_of_all.is_whole() && coverage_of_all.draw.is_none());
}

#[test]
fn a_draw_of_a_range_stays_in_it() {
    let (problem, subject) = problem_with_zero_rows();
    let options = Options {
        rows: Some(40..60),
        ..sample(8, 1)
    };
    let report = run(&problem, &subject, &options).unwrap();
    let coverage = coverage(&report.checks[0]);
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(coverage.ranges.len(), 8);
    assert!(coverage.ranges.iter().all(|row| (40..60).contains(&row)));
    assert_eq!(coverage.draw.as_ref().unwrap().from, 40..60);
}

#[test]
fn refuses_parts_that_cannot_be_checked() {
    let problem = crate::problems::random(5, 8, 3, 3, 1.0, Reduction::Mean);
    let subject = |wrt| subject(&problem, wrt, &gradient(&problem, wrt, Dtype::F32));
    let message = |wrt, options| {
        run(&problem, &subject(wrt), &options)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(Wrt::Weight, rows(0..4)),
        "--rows is a selection of the samples, but grad_weight is a sum over all of them"
    );
    assert_eq!(
        message(Wrt::Bias, sample(4, 0)),
        "--sample is a selection of the samples, but grad_bias is a sum over all of them"
    );
    let past = "there are 8 rows; A..B needs A < B <= 8";
    for (range, found) in [(4..9, "4..9"), (5..5, "5..5")] {
        assert_eq!(
            message(Wrt::Logits, rows(range)),
            format!("--rows is {found}, but {past}")
        );
    }
    assert!(message(Wrt::Input, sample(0, 0)).starts_with("--sample is 0"));
}

/// Interrupts after a number of calls of [`Listener::progress`] or [`Listener::diagnosing`].
struct Impatient {
    progress: usize,
    causes: usize,
    done: u64,
}

impl Listener for Impatient {
    /// A listener that wants the numeric gradient keeps the calls of the engine small.
    fn wants_numeric(&self) -> bool {
        true
    }

    fn progress(&mut self, done: u64, _all: u64) {
        self.progress -= 1;
        self.done = done;
    }

    fn diagnosing(&mut self) {
        self.causes -= 1;
    }

    fn is_interrupted(&self) -> bool {
        self.progress == 0 || self.causes == 0
    }
}

#[test]
fn an_interrupted_check_reports_the_rows_that_are_done() {
    let problem = crate::problems::random(6, 4096, 1024, 3, 1.0, Reduction::Sum);
    let mut values = gradient(&problem, Wrt::Input, Dtype::F32);
    // The check is interrupted before this entry.
    values[4000 * 1024] += 1.0;
    let subjects = [
        subject(&problem, Wrt::Input, &values),
        subject(
            &problem,
            Wrt::Bias,
            &gradient(&problem, Wrt::Bias, Dtype::F32),
        ),
    ];
    let check = |progress, causes| {
        let mut listener = Impatient {
            progress,
            causes,
            done: 0,
        };
        let report = check::check(
            &problem,
            &subjects,
            &Options::default(),
            &CPU,
            &mut listener,
        );
        (report.unwrap(), listener.done)
    };
    let (report, done) = check(2, 100);
    assert!(report.interrupted);
    let [check_of_input] = report.checks.as_slice() else {
        panic!("one gradient was begun")
    };
    assert_eq!((check_of_input.entries, check_of_input.wrong), (done, 0));
    assert!(done < 4096 * 1024);
    let rows = done as usize / 1024;
    assert_eq!(coverage(check_of_input).ranges, Ranges::from(0..rows));
    let (report, _) = check(100, 100);
    assert!(!report.interrupted && report.checks.len() == 2);
    assert_eq!(report.checks[0].wrong, 1);
    assert_ne!(report.checks[0].findings, []);

    // Interrupted during the diagnosis: all rows are compared, and no cause is reported.
    let (report, done) = check(100, 2);
    assert!(report.interrupted);
    assert_eq!(done, 4096 * 1024);
    let [check_of_input] = report.checks.as_slice() else {
        panic!("the other was begun")
    };
    assert_eq!(check_of_input.wrong, 1);
    assert_eq!(check_of_input.findings, []);
    assert!(check_of_input.tried.is_empty());
}
