//! Reports as people and programs read them: one file a format, reports in, string out.

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

/// What came of one of the files that were checked.
pub struct Run {
    /// The file.
    pub name: String,
    /// The report, or the reason why the file could not be checked.
    pub outcome: Result<Report>,
    /// For each check the errors at every step size, if they were computed.
    pub sweeps: Vec<Option<Sweep>>,
    /// Its page, where a service has drawn it.
    pub page: Option<String>,
}

impl Run {
    /// A file that was checked here.
    pub fn new(name: String, report: Report, sweeps: Vec<Option<Sweep>>) -> Self {
        Self {
            name,
            outcome: Ok(report),
            sweeps,
            page: None,
        }
    }

    /// A file that could not be checked.
    pub fn failed(name: String, error: Error) -> Self {
        Self {
            name,
            outcome: Err(error),
            sweeps: Vec::new(),
            page: None,
        }
    }

    /// A file that was checked elsewhere.
    pub fn received(name: String, report: Report, page: Option<String>) -> Self {
        Self {
            name,
            outcome: Ok(report),
            sweeps: Vec::new(),
            page,
        }
    }
}

/// The report, where there is one file and it could be checked: it is told without the file's name.
fn single(runs: &[Run]) -> Option<&Report> {
    match runs {
        [run] => run.outcome.as_ref().ok(),
        _ => None,
    }
}
