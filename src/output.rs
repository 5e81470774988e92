//! Formats of reports, for people and for programs. Each format is a file that renders reports to a
//! string.

use std::time::SystemTime;

use crate::{
    error::{Error, Result},
    report::Report,
    sweep::Sweep,
};

#[cfg(feature = "cli")]
pub(crate) mod bench;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sweep;
pub mod text;
pub mod words;

/// The outcome of checking one file.
pub struct Run {
    /// The name of the file.
    pub name: String,
    /// The report, or the reason why the file could not be checked.
    pub outcome: Result<Report>,
    /// For each check the errors at every step size, if they were computed.
    pub sweeps: Vec<Option<Sweep>>,
    /// The HTML page, if a service rendered it.
    pub page: Option<String>,
    /// The time of the check, if it is to be shown.
    pub time: Option<SystemTime>,
}

impl Run {
    /// Returns the outcome of a file that was checked here.
    pub fn new(name: String, report: Report, sweeps: Vec<Option<Sweep>>) -> Self {
        Self {
            name,
            outcome: Ok(report),
            sweeps,
            page: None,
            time: None,
        }
    }

    /// Sets the time of the check.
    pub fn at(self, time: SystemTime) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }

    /// Returns the outcome of a file that could not be checked.
    pub fn failed(name: String, error: Error) -> Self {
        Self {
            name,
            outcome: Err(error),
            sweeps: Vec::new(),
            page: None,
            time: None,
        }
    }

    /// Returns the outcome of a file that a service checked.
    pub fn received(name: String, report: Report, page: Option<String>) -> Self {
        Self {
            name,
            outcome: Ok(report),
            sweeps: Vec::new(),
            page,
            time: None,
        }
    }
}

/// Returns the report if there is one file and it could be checked. Formats show such a report
/// without the name of the file.
fn single(runs: &[Run]) -> Option<&Report> {
    match runs {
        [run] => run.outcome.as_ref().ok(),
        _ => None,
    }
}
