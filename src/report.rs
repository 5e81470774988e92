//! Reports as data: the one model behind JSON, every other format, and the service.
//!
//! A [`Tally`] counts entries while they are compared. A [`Comparison`] is a tally with its
//! settings and the rows that it covers; the comparisons of parts of a gradient merge. A [`Check`]
//! is the result of a comparison, with the causes of its errors. A [`Report`] holds the checks of
//! one run.

use std::fmt;

use serde::{Deserialize, Serialize};

mod check;
mod code;
mod columns;
mod comparison;
mod coverage;
mod entry;
mod finding;
mod histogram;
mod kept;
mod location;
mod picture;
mod places;
mod ranges;
mod relation;
mod run;
mod scale;
mod sum;
mod tally;
mod tolerance;

pub use check::{Check, RelErr};
pub use code::Code;
pub use columns::{ColumnSums, Columns};
pub use comparison::{ComparedOn, Comparison, Corruption, Source};
pub use coverage::{Coverage, Draw};
pub use entry::{Decision, Entry};
pub use finding::{Finding, Places, Proof};
pub use histogram::Histogram;
pub use kept::Kept;
pub use location::{Affected, Location, WrongClass, WrongColumn, column_noun};
pub use picture::{Cell, Pairs, Picture};
pub use places::WrongPlaces;
pub use ranges::Ranges;
pub use relation::Relation;
pub use run::{DeviceInfo, DeviceKind, NetworkInfo, ProblemInfo, Seconds};
pub use scale::Scale;
pub use sum::ExactSum;
pub use tally::{Counts, RelErrs, Sensitivity, Sums, Tally};

/// The schema of a report in JSON.
pub const SCHEMA: &str = "gradprobe/report/1";

/// The verdict on a gradient, or on all gradients of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No entry is wrong, nearly all could be decided, and corrupted copies would have failed.
    Pass,
    /// No entry is wrong, but too few could be decided, or a corrupted copy would have passed.
    Inconclusive,
    /// An entry is wrong, or the gradient or a column of it is off by a factor.
    Fail,
}

impl fmt::Display for Verdict {
    /// Writes the name that JSON uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The report on one run: one problem, one device, and the check of one gradient or of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the JSON schema, [`SCHEMA`].
    pub schema: String,
    /// The version of gradprobe that made the report.
    pub version: String,
    /// The worst verdict of the checks; [`Verdict::Inconclusive`] without checks.
    pub verdict: Verdict,
    /// The command line that repeats the run, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The duration of the run.
    pub seconds: Seconds,
    /// The device that computed.
    pub device: DeviceInfo,
    /// The sizes and options of the problem.
    pub problem: ProblemInfo,
    /// The parts of the files that were not read or not checked, and why, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// True if the run stopped before all rows were compared or before the diagnosis ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// The checks, one for each gradient.
    pub checks: Vec<Check>,
    /// The duration of each check, in seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_seconds: Vec<f64>,
    /// The relations between the gradients, if one of them is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<Relation>,
}

impl Report {
    /// Returns the report on a finished run without a command line, notes or times.
    pub fn new(device: DeviceInfo, problem: ProblemInfo, checks: Vec<Check>) -> Self {
        let verdicts = checks.iter().map(|check| check.verdict);
        Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: verdicts.max().unwrap_or(Verdict::Inconclusive),
            command: None,
            seconds: Seconds::default(),
            device,
            problem,
            notes: Vec::new(),
            interrupted: false,
            checks,
            check_seconds: Vec::new(),
            relations: Vec::new(),
        }
    }
}
