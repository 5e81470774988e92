//! The report as JUnit XML, which CI systems show as tests: a suite for each file, a case for each
//! gradient.

use askama::Template;

use super::{Run, text, words};
use crate::{
    error::Error,
    report::{Check, Report, Verdict},
};

/// The document, templates/junit.xml.
#[derive(Template)]
#[template(path = "junit.xml")]
struct Page {
    suites: Vec<Suite>,
}

/// One file.
struct Suite {
    name: String,
    seconds: Option<f64>,
    /// Names and values.
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
    /// The report as text.
    output: Option<String>,
}

/// One gradient, or a file that could not be checked.
struct Case {
    name: String,
    seconds: Option<f64>,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Skipped {
        message: String,
    },
    Failed {
        kind: String,
        message: String,
        fixes: String,
    },
    Broken {
        message: String,
    },
}

impl Page {
    fn count(&self, is_counted: fn(&Outcome) -> bool) -> usize {
        let suites = self.suites.iter();
        suites.map(|suite| suite.count(is_counted)).sum()
    }
}

impl Suite {
    fn count(&self, is_counted: fn(&Outcome) -> bool) -> usize {
        let cases = self.cases.iter();
        cases.filter(|case| is_counted(&case.outcome)).count()
    }
}

impl Outcome {
    fn is_any(&self) -> bool {
        true
    }

    fn is_skipped(&self) -> bool {
        matches!(self, Self::Skipped { .. })
    }

    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    fn is_broken(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

/// Renders the runs. An inconclusive check counts as failed, or as skipped if `allow_inconclusive`
/// is set.
pub fn render(runs: &[Run], allow_inconclusive: bool) -> String {
    let suites = runs.iter().map(|run| match &run.outcome {
        Ok(report) => suite(report, &run.name, allow_inconclusive),
        Err(error) => broken(&run.name, error),
    });
    let page = Page {
        suites: suites.collect(),
    };
    let xml = page.render().expect("a report renders as XML");
    xml.replace(is_forbidden, "\u{fffd}")
}

/// Returns true for the control characters that XML 1.0 does not allow, escaped or not.
fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn broken(name: &str, error: &Error) -> Suite {
    let message = error.to_string();
    Suite {
        name: name.to_owned(),
        seconds: None,
        properties: Vec::new(),
        cases: vec![Case {
            name: "check".to_owned(),
            seconds: None,
            outcome: Outcome::Broken { message },
        }],
        output: None,
    }
}

fn suite(report: &Report, name: &str, allow_inconclusive: bool) -> Suite {
    let case = |(index, check): (usize, &Check)| Case {
        name: check.name().to_owned(),
        seconds: report.check_seconds.get(index).copied(),
        outcome: outcome(check, allow_inconclusive),
    };
    Suite {
        name: name.to_owned(),
        seconds: Some(report.seconds.total),
        properties: vec![
            ("device", words::device(&report.device)),
            ("problem", words::problem(&report.problem)),
        ],
        cases: report.checks.iter().enumerate().map(case).collect(),
        output: Some(text::render(report, text::Layout::default())),
    }
}

fn outcome(check: &Check, allow_inconclusive: bool) -> Outcome {
    let message = words::sentence(check);
    let kind = match check.verdict {
        Verdict::Pass => return Outcome::Passed,
        Verdict::Inconclusive if allow_inconclusive => return Outcome::Skipped { message },
        Verdict::Inconclusive => check.verdict.to_string(),
        Verdict::Fail => {
            let first = check.findings.first();
            first.map_or_else(|| "wrong".to_owned(), |finding| finding.code.to_string())
        }
    };
    let fixes = check.findings.iter();
    let fixes = fixes.map(|finding| format!("{}: {}", finding.code, finding.fix));
    Outcome::Failed {
        kind,
        message,
        fixes: fixes.collect::<Vec<_>>().join("\n"),
    }
}
