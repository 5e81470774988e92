//! The report as JUnit XML, which CI systems show as tests: a suite for a file, a test case for each gradient.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    Run,
    document::{Check, Document},
    text, words,
};
use crate::{error::Error, report::Verdict};

/// The document. Inconclusive checks count as failed unless `allow_inconclusive`.
pub fn render(runs: &[Run], allow_inconclusive: bool) -> String {
    let mut document = Report::new("gradprobe");
    for run in runs {
        document.add_test_suite(match &run.outcome {
            Ok(report) => suite(report, &run.name, allow_inconclusive),
            Err(error) => broken(&run.name, error),
        });
    }
    document.to_string().expect("a report has an XML form")
}

/// A file that could not be checked.
fn broken(name: &str, error: &Error) -> TestSuite {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("error").set_message(error.to_string());
    let mut case = TestCase::new("check", status);
    case.set_classname(name);
    let mut suite = TestSuite::new(name);
    suite.add_test_case(case);
    suite
}

fn suite(report: &Document, name: &str, allow_inconclusive: bool) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.set_time(Duration::from_secs_f64(report.seconds.total));
    suite.add_property(("device", words::device(&report.device).as_str()));
    suite.add_property(("problem", words::problem(&report.problem).as_str()));
    for check in &report.checks {
        suite.add_test_case(test_case(check, name, allow_inconclusive));
    }
    suite.set_system_out(text::render(report, text::Layout::default()));
    suite
}

fn test_case(check: &Check, name: &str, allow_inconclusive: bool) -> TestCase {
    let sentence = words::sentence(check);
    let status = match check.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Inconclusive if allow_inconclusive => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(sentence);
            skipped
        }
        verdict => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let first = check.findings.first().map(|finding| finding.code.as_str());
            let kind = match verdict {
                Verdict::Inconclusive => "inconclusive",
                _ => first.unwrap_or("wrong"),
            };
            let fixes = check
                .findings
                .iter()
                .map(|finding| format!("{}: {}", finding.code, finding.fix));
            failed.set_type(kind).set_message(sentence);
            failed.set_description(fixes.collect::<Vec<_>>().join("\n"));
            failed
        }
    };
    let mut case = TestCase::new(check.wrt.grad_name(), status);
    case.set_classname(name);
    case
}
