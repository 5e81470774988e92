//! What came out of a run, as data. Chunks, shards and machines add up: [`Report::merge`] is associative to the
//! last bit, because sums are exact and everything else is counted or ordered.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    loss::Reduction,
    problem::Wrt,
    rounding::{Caught, Tolerance},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

mod code;
mod columns;
mod histogram;
mod picture;
mod places;
mod sum;
mod tally;

pub use code::Code;
pub use columns::{ColumnSums, Columns};
pub use histogram::Histogram;
pub use picture::{Cell, Pairs, Picture};
pub use places::{Ranges, WrongPlaces};
pub use sum::ExactSum;
pub use tally::{Decision, Entry, Tally, severity};

/// What a check, or a run of several, says of the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No entry is wrong, and nearly all could be decided.
    Pass,
    /// No entry is wrong, but too few could be decided, or there was nothing to see.
    Inconclusive,
    /// At least one entry is wrong.
    Fail,
}

impl fmt::Display for Verdict {
    /// Writes the name that JSON uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Who did the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The processor's or the adapter's name.
    pub name: String,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    /// The interface it is driven through.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Why it is not the device that might have been expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The host's processor, by this crate's own loops.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// An adapter that runs shaders on the host's processor.
    Software,
}

impl fmt::Display for DeviceKind {
    /// Writes the name that JSON uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The sizes and options of the problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProblemInfo {
    /// Samples.
    pub n: usize,
    /// Features.
    pub d: usize,
    /// Classes.
    pub k: usize,
    /// The input's element type.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub dtype: Dtype,
    /// How the samples' losses become one number.
    pub reduction: Reduction,
    /// The share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// The target that marks samples which do not count.
    pub ignore_index: i64,
    /// Whether classes have weights of their own.
    pub class_weight: bool,
}

fn as_text<S: serde::Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Dtype, D::Error> {
    let text = String::deserialize(deserializer)?;
    let named = Dtype::ALL
        .into_iter()
        .find(|dtype| dtype.to_string() == text);
    named.ok_or_else(|| serde::de::Error::custom(format!("{text} is no element type")))
}

/// Where the gradient under test came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file.
    Given,
    /// The engine's own backward pass.
    BuiltIn,
}

/// A cause that the errors point to.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Its name in the catalogue.
    pub code: Code,
    /// 1 for the first cause. Findings of the same step are alternatives, which the arrays cannot tell apart; those of the next
    /// explain what is left when the causes before are undone.
    pub step: usize,
    /// The factor by which the gradient is off, where there is one.
    pub factor: Option<f64>,
    /// 0 to 1.
    pub confidence: f64,
    /// One sentence that stands alone.
    pub message: String,
    /// What to do.
    pub fix: String,
    /// The numbers it rests on.
    pub evidence: Vec<(&'static str, f64)>,
    /// Where it was seen, if not everywhere.
    pub places: Places,
    /// How the cause was undone in the gradient, or in what it is compared with.
    pub correction: String,
    /// What that did to the errors.
    pub proof: Option<Proof>,
    /// The one run that would tell it from what looks the same.
    pub test: Option<String>,
}

impl Finding {
    /// A cause that is certain, of the whole gradient, and the first: `message` is one sentence that stands alone, `fix` says what to do.
    pub fn new(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code,
            step: 1,
            factor: None,
            confidence: 1.0,
            message: message.into(),
            fix: fix.into(),
            evidence: Vec::new(),
            places: Places::default(),
            correction: String::new(),
            proof: None,
            test: None,
        }
    }
}

/// Where a cause was seen; an empty set where it has no part in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// Rows of the gradient.
    pub rows: Ranges,
    /// Columns of the gradient.
    pub columns: Ranges,
    /// Classes.
    pub classes: Ranges,
}

/// The errors before a cause was undone, and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// Whether one factor between the two is left out of it, which the next finding explains.
    pub up_to_factor: bool,
    /// Entries that were looked at, all of the gradient or a sample of its rows, and those that say something after it.
    pub entries: [usize; 2],
    /// How many of them were wrong, before and after.
    pub wrong: [usize; 2],
    /// |analytic - right| / |right| over them, before and after; the right gradient is the closed form, which the numeric one has
    /// confirmed, or what the cause makes of it.
    pub error: [f64; 2],
}

/// Which rows of a gradient were compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Their numbers.
    pub rows: Ranges,
    /// How many rows the gradient has.
    pub of: usize,
    /// Where they were drawn at random.
    pub draw: Option<Draw>,
}

/// A random draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// What the random numbers began with.
    pub seed: u64,
    /// The rows that they were drawn from.
    pub from: Range<usize>,
}

impl Coverage {
    /// Whether every row was compared.
    pub fn is_whole(&self) -> bool {
        self.rows.len() == self.of
    }

    /// Of a random draw: the least share of wrong rows, of those drawn from, of which one is in it with a probability of 99 %.
    pub fn seen_share(&self) -> f64 {
        1.0 - 0.01f64.powf(1.0 / self.rows.len() as f64)
    }
}

/// The check of one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckReport {
    /// What the gradient is taken with respect to.
    pub wrt: Wrt,
    /// Where the gradient under test came from.
    pub source: Source,
    /// Its element type.
    pub dtype: Dtype,
    /// How the losses were computed.
    pub method: Method,
    /// The difference scheme.
    pub scheme: Scheme,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// The step.
    pub eps: f64,
    /// How far the gradient may be off.
    pub tolerance: Tolerance,
    /// Where the errors were found.
    pub compared: ComparedOn,
    /// Which rows were compared.
    pub coverage: Coverage,
    /// What was counted.
    pub tally: Tally,
    /// What the errors point to; of the whole, so a merge drops them.
    pub findings: Vec<Finding>,
    /// Causes that were considered and do not explain the errors, by code.
    pub ruled_out: Vec<Code>,
}

/// Where the errors were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComparedOn {
    /// Every entry on the host, in f64.
    Host,
    /// On the device, but for the rows that the host compared again: all that have an entry that is not clearly right, those with the
    /// worst entries, and a sample.
    Device,
}

/// The gradient as a whole: analytic = s·numeric, and what remains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// s = <analytic, numeric> / <numeric, numeric>.
    pub factor: f64,
    /// How far s may be from 1.
    pub allowed: f64,
}

/// Below it the squares of allowed errors, which are relative roundings of these squares, underflow in f64.
const LEAST_SQUARES: f64 = 1e-120;

impl Scale {
    fn is_off(&self) -> bool {
        (self.factor - 1.0).abs() > self.allowed
    }
}

impl CheckReport {
    /// s of the whole, and how far it may be from 1. If rows are alike they err alike, so only a third of what averaging
    /// would take away is taken; but in half precision, where shared roundings are as large, all of it.
    pub fn scale(&self) -> Option<Scale> {
        let tally = &self.tally;
        let alike = match self.dtype {
            Dtype::F16 | Dtype::BF16 => 1.0,
            _ => 3.0,
        };
        let tolerance = alike * tally.tolerance_tolerance.value().sqrt();
        let numeric = tally.numeric_numeric.value();
        let allowed =
            self.scale_allowed(numeric, tolerance, &tally.noise_numeric, &tally.numeric_abs);
        tally.scale().map(|factor| Scale { factor, allowed })
    }

    /// The columns whose own s is farther from 1 than it may be. A column in which terms cancel shows what its rows share
    /// most, so never more than three quarters of the tolerance are taken to average out.
    ///
    /// A row has no such sum to offer: its entries share a softmax and err together. Over PyTorch's gradients at
    /// 512x256x10 and 512x256x100 (f32 and bf16, November 2026) the errors of a row correlate with its gradient at 0.13
    /// to 0.40 on average, where independent errors would at 0.05; those of a column at 0.05, where independent ones would at 0.035.
    pub fn columns_off(&self) -> Vec<(usize, Scale)> {
        let scale = |sums: &ColumnSums| {
            let numeric = sums.numeric_numeric.value();
            let averaged = 3.0 * sums.tolerance_tolerance.value().sqrt();
            let tolerance = averaged.max(sums.tolerance_numeric.value() / 4.0);
            let allowed =
                self.scale_allowed(numeric, tolerance, &sums.noise_numeric, &sums.numeric_abs);
            (numeric > 0.0).then(|| Scale {
                factor: sums.analytic_numeric.value() / numeric,
                allowed,
            })
        };
        let columns = self.tally.columns.0.iter().enumerate();
        columns
            .filter_map(|(column, sums)| Some((column, scale(sums)?)))
            .filter(|(_, scale)| scale.is_off())
            .collect()
    }

    /// How far s = <a,n>/<n,n> may be from 1: the tolerance that is left after averaging, all that the numeric gradient may
    /// be off by (its truncation is the same in every row), and what the entries share, such as the rounding of the
    /// normaliser, and underflow.
    fn scale_allowed(
        &self,
        numeric: f64,
        tolerance: f64,
        noise: &ExactSum,
        numeric_abs: &ExactSum,
    ) -> f64 {
        if numeric < LEAST_SQUARES {
            return f64::INFINITY;
        }
        let given = self.tolerance.given.map_or(0.0, |given| given.rtol);
        let errors = tolerance + noise.value() + self.tolerance.floor * numeric_abs.value();
        errors / numeric + self.tolerance.shared + given
    }

    /// Rows and columns of the gradient; none where no entry is wrong.
    pub fn shape(&self) -> Option<[usize; 2]> {
        let columns = self.tally.places.columns.len();
        (columns > 0).then(|| [(self.tally.entries / columns as u64) as usize, columns])
    }

    /// Where the wrong entries are, in words: "only in rows with target 3", "only in rows 2 to 5, columns 1 and 3".
    pub fn whereabouts(&self) -> String {
        let places = &self.tally.places;
        let Some([rows, columns]) = self.shape() else {
            return "in no entry alone".to_owned();
        };
        let classes = places.wrong_classes();
        let few_classes = 2 * classes.len() <= places.classes_met();
        let by_class = few_classes && !classes.is_empty() && places.rows.len() > classes.len();
        let of_rows = match self.wrt.is_parameter() {
            true => which("class", "classes", &places.rows, rows),
            false if by_class => Some(format!("only in rows with target {classes}")),
            false => which("row", "rows", &places.rows, rows),
        };
        let of_columns = match self.wrt {
            Wrt::Bias => None,
            _ => which("column", "columns", &places.wrong_columns(), columns),
        };
        match (of_rows, of_columns) {
            (None, None) => "everywhere".to_owned(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(rows), Some(columns)) => {
                format!("{rows}, {}", columns.trim_start_matches("only in "))
            }
        }
    }

    /// The smallest error, relative and the same in all entries, that would have failed this check.
    pub fn detectable(&self) -> f64 {
        let scale = self.scale().map_or(f64::INFINITY, |scale| scale.allowed);
        self.tally.least_detectable.min(scale)
    }

    /// Certainly wrong copies of the gradient that this check would have let pass, by name.
    pub fn blind_to(&self) -> Vec<&'static str> {
        let Caught {
            zeroed,
            flipped,
            scaled,
            shuffled,
            moved,
        } = self.tally.caught;
        let scale = self.scale().map_or(f64::INFINITY, |scale| scale.allowed);
        let copies = [
            ("zeroed", zeroed || scale < 1.0),
            ("flipped", flipped || scale < 2.0),
            ("scaled", scaled || scale < 0.5),
            ("shuffled", shuffled || !moved),
        ];
        copies
            .into_iter()
            .filter(|(_, caught)| !caught)
            .map(|(name, _)| name)
            .collect()
    }

    /// Fail, if an entry is wrong, or all or those of a column are off by one factor; inconclusive, if more than one entry in a hundred is
    /// undecided or a wrong gradient would not have been seen; else pass.
    pub fn verdict(&self) -> Verdict {
        let tally = &self.tally;
        let off = self.scale().is_some_and(|scale| scale.is_off());
        if tally.wrong > 0 || off || !self.columns_off().is_empty() {
            Verdict::Fail
        } else if tally.undecided > tally.entries / 100 || !self.blind_to().is_empty() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }
}

/// `only in rows 3 and 7`, `in 998 of 1000 rows`; none for all of them.
fn which(one: &str, many: &str, set: &Ranges, all: usize) -> Option<String> {
    match set.len() {
        count if count == all => None,
        1 => Some(format!("only in {one} {set}")),
        count if 2 * count <= all || set.ranges().len() <= 2 => {
            Some(format!("only in {many} {set}"))
        }
        count => Some(format!("in {count} of {all} {many}")),
    }
}

/// Wall-clock seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From the start to tensors in memory, or mapped.
    pub load: f64,
    /// From there to the finished report.
    pub compute: f64,
    /// Both.
    pub total: f64,
}

/// A run: one problem, one device, and the check of one gradient or several.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The command line that repeats it, where there was one.
    pub command: Option<String>,
    /// How long it took.
    pub seconds: Seconds,
    /// Who did the arithmetic.
    pub device: DeviceInfo,
    /// The sizes and options.
    pub problem: ProblemInfo,
    /// What of the files was left out, and why, in sentences.
    pub notes: Vec<String>,
    /// Whether it was stopped before all rows were compared, or before the cause was found.
    pub interrupted: bool,
    /// One for each gradient.
    pub checks: Vec<CheckReport>,
}

impl Report {
    /// The worst of the checks' verdicts.
    pub fn verdict(&self) -> Verdict {
        self.checks
            .iter()
            .map(CheckReport::verdict)
            .max()
            .unwrap_or(Verdict::Inconclusive)
    }

    /// The report of these rows and `other`'s, of the same run. Associative and commutative in all that is
    /// counted. Findings speak of a whole gradient, so they are dropped: diagnose anew.
    pub fn merge(mut self, other: Self) -> Self {
        self.seconds.load += other.seconds.load;
        self.seconds.compute += other.seconds.compute;
        self.seconds.total += other.seconds.total;
        // No one command line gives the whole.
        if self.command != other.command {
            self.command = None;
        }
        self.interrupted |= other.interrupted;
        for (check, other) in self.checks.iter_mut().zip(other.checks) {
            check.coverage.rows.merge(other.coverage.rows);
            check.compared = check.compared.max(other.compared);
            check.tally.merge(other.tally);
            check.findings.clear();
            check.ruled_out.clear();
        }
        self
    }
}
