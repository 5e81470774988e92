//! Reports as people and programs read them: one file a format, reports in, string out.

use crate::{
    error::{Error, Result},
    report::Report,
    sweep::Sweep,
};

#[cfg(feature = "cli")]
pub(crate) mod bench;
pub mod document;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sweep;
pub mod text;
pub mod words;

use document::Document;

/// What came of one of the files that were checked.
pub struct Run {
    /// The file.
    pub name: String,
    /// What is told of it, or why it could not be checked.
    pub outcome: Result<Document>,
    /// What was computed here, which pictures are drawn of.
    pub computed: Option<Computed>,
    /// Its page, where a service has drawn it.
    pub page: Option<String>,
}

/// A report with all that was counted.
pub struct Computed {
    /// The report.
    pub report: Report,
    /// For each of its checks the errors at every step size, where they were computed.
    pub sweeps: Vec<Option<Sweep>>,
}

impl Run {
    /// A file that was checked here.
    pub fn new(name: String, report: Report, sweeps: Vec<Option<Sweep>>) -> Self {
        Self {
            name,
            outcome: Ok(Document::from(&report)),
            computed: Some(Computed { report, sweeps }),
            page: None,
        }
    }

    /// A file that could not be checked.
    pub fn failed(name: String, error: Error) -> Self {
        Self {
            name,
            outcome: Err(error),
            computed: None,
            page: None,
        }
    }

    /// A file that was checked elsewhere.
    pub fn told(name: String, report: Document, page: Option<String>) -> Self {
        Self {
            name,
            outcome: Ok(report),
            computed: None,
            page,
        }
    }
}

/// The report, where there is one file and it could be checked: it is told without the file's name.
fn single(runs: &[Run]) -> Option<&Document> {
    match runs {
        [run] => run.outcome.as_ref().ok(),
        _ => None,
    }
}
