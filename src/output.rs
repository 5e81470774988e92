//! Reports as people and programs read them: one file a format, reports in, string out.

use crate::{error::Result, report::Report, sweep::Sweep};

pub mod bench;
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
    /// The report, or why there is none.
    pub outcome: Result<Report>,
    /// For each check of the report the errors at every step size, where they were computed.
    pub sweeps: Vec<Option<Sweep>>,
}

/// The report, where there is one file and it could be checked: it is told without the file's name.
fn single(runs: &[Run]) -> Option<&Report> {
    match runs {
        [run] => run.outcome.as_ref().ok(),
        _ => None,
    }
}
