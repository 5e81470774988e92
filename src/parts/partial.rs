//! The result of some units, which merges with those of others.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

use super::{kept::KeptRows, parse, require_schema, sums::SumTree};
use crate::{
    check::Options,
    error::{Error, Result},
    io::Request,
    number,
    report::{Comparison, Coverage, DeviceInfo, ProblemInfo, Ranges},
};

/// The name of the JSON schema of a partial.
const SCHEMA: &str = "gradprobe/part/1";
/// The name of the format in messages.
const FORMAT: &str = "part";

/// The result of checking some units of a case.
///
/// Partials of one case merge in any order and any grouping to the same one, bit for bit, apart
/// from the seconds. In JSON nothing is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    pub(super) schema: String,
    /// The case.
    pub case: CaseId,
    /// The settings of the check by name, as [`Case::with_settings`](super::Case::with_settings)
    /// took them.
    pub settings: Vec<(String, String)>,
    /// The units that were checked.
    pub units: Ranges,
    /// Units that are in more than one of the merged partials. They count once.
    pub repeated: Ranges,
    /// Their rows in the whole case.
    pub rows: Ranges,
    /// The sizes and options of the problem. `None` if no unit is checked.
    pub problem: Option<ProblemInfo>,
    /// The devices that computed.
    pub devices: Vec<DeviceInfo>,
    /// Sentences on the files.
    pub notes: BTreeSet<String>,
    /// The time that the units took, in seconds.
    #[serde(with = "number")]
    pub seconds: f64,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) sums: SumTree,
    pub(super) kept: KeptRows,
}

/// The case that a partial belongs to: partials of different cases do not merge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseId {
    /// Files.
    pub files: usize,
    /// Rows in all files.
    pub rows: usize,
    /// Units in all files.
    pub units: usize,
    /// Z, the divisor of the sum of all samples' losses.
    #[serde(with = "number")]
    pub normalizer: f64,
    /// The settings of the check.
    pub settings: String,
}

/// Returns the settings that the result of a unit depends on.
pub(super) fn settings(request: &Request, options: &Options) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        request.wrt,
        request.self_test,
        request.label_smoothing,
        request.weight_layout,
        request.computed_in,
        options.method,
        options.scheme,
        options.eps,
        options.precision,
        [options.rtol, options.atol],
        options.min_power,
    )
}

impl Partial {
    /// Returns the partial of no unit.
    pub(super) fn new(case: CaseId) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            case,
            settings: Vec::new(),
            units: Ranges::default(),
            repeated: Ranges::default(),
            rows: Ranges::default(),
            problem: None,
            devices: Vec::new(),
            notes: BTreeSet::new(),
            seconds: 0.0,
            comparisons: Vec::new(),
            sums: SumTree::default(),
            kept: KeptRows::default(),
        }
    }

    /// Reads a partial from JSON. `path` names it in messages.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let mut partial: Self = parse(text, path, FORMAT)?;
        require_schema(&partial.schema, SCHEMA, path, FORMAT)?;
        let coverage = Coverage::new(partial.rows.clone(), partial.case.rows);
        for comparison in &mut partial.comparisons {
            comparison.coverage = coverage.clone();
        }
        Ok(partial)
    }

    /// Returns the partial as JSON, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a partial is JSON")
    }

    /// Returns the partial of both. Units that both have are counted once, if they are all of one
    /// of the two; else nothing of the second is taken.
    ///
    /// # Errors
    /// [`Error::Usage`] if the two belong to different cases.
    pub fn merge(mut self, other: Self) -> Result<Self> {
        let different = |what: &str| Err(Error::Usage(format!("the parts {what}")));
        if self.case != other.case {
            return different("belong to different cases, or were checked with different settings");
        }
        if other.problem.is_none() {
            return Ok(self);
        }
        if self.problem.is_none() {
            return Ok(other);
        }
        self.repeated.merge(other.repeated);
        let shared = self.units.intersection(&other.units);
        if !shared.is_empty() {
            self.repeated.merge(shared);
            return Ok(self);
        }
        if self.problem != other.problem {
            return different("have files of different shapes, types or losses");
        }
        self.units.merge(other.units);
        self.rows.merge(other.rows);
        for device in other.devices {
            if !self.devices.contains(&device) {
                self.devices.push(device);
            }
        }
        self.devices.sort_by(|a, b| a.name.cmp(&b.name));
        self.notes.extend(other.notes);
        self.seconds += other.seconds;
        let names = |comparisons: &[Comparison]| -> Vec<_> {
            comparisons.iter().map(|it| (it.wrt, it.dtype)).collect()
        };
        if names(&self.comparisons) != names(&other.comparisons) {
            return different("have different gradients");
        }
        let pairs = self.comparisons.into_iter().zip(other.comparisons);
        let merged: Option<Vec<Comparison>> = pairs.map(|(a, b)| a.merge(b)).collect();
        let (Some(comparisons), Some(sums)) = (merged, self.sums.merge(other.sums)) else {
            return different("have gradients that were checked in different ways");
        };
        self.comparisons = comparisons;
        self.sums = sums;
        self.kept = self.kept.merge(other.kept);
        Ok(self)
    }

    /// Returns the number of wrong entries in the units, apart from those of parameters.
    pub fn wrong(&self) -> u64 {
        let comparisons = self.comparisons.iter();
        comparisons.map(|it| it.tally.counts.wrong).sum()
    }

    /// Returns the units that are missing.
    pub fn missing(&self) -> Ranges {
        self.units.complement(self.case.units)
    }
}
