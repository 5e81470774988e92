//! The counts over the entries of a gradient.

use serde::{Deserialize, Serialize};

use super::{Columns, ExactSum, Histogram, Kept, Picture, WrongPlaces};
use crate::number;
use crate::rounding::Caught;

/// Everything that is counted while the entries of a gradient are compared.
///
/// A tally grows row by row. Tallies of disjoint rows merge in any order and any grouping to the
/// same tally, bit for bit: counts are integers, sums are exact, and everything else is ordered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Numbers of entries.
    pub counts: Counts,
    /// The relative errors.
    pub rel_err: RelErrs,
    /// Sums over the entries.
    pub sums: Sums,
    /// Sums down the columns.
    pub columns: Columns,
    /// The places of the wrong entries.
    pub places: WrongPlaces,
    /// The errors that the check would have detected.
    pub sensitivity: Sensitivity,
    /// The entries that are kept whole.
    pub kept: Kept,
    /// The errors in bins for a picture, if one was asked for.
    #[serde(skip)]
    pub picture: Option<Box<Picture>>,
}

impl Tally {
    /// Adds the tally of other rows.
    pub fn merge(&mut self, other: Self) {
        let Self {
            counts,
            rel_err,
            sums,
            columns,
            places,
            sensitivity,
            kept,
            picture,
        } = other;
        self.counts.merge(counts);
        self.rel_err.merge(rel_err);
        self.sums.merge(&sums);
        self.columns.merge(columns);
        self.places.merge(places);
        self.sensitivity.merge(sensitivity);
        self.kept.merge(kept);
        self.picture = match (self.picture.take(), picture) {
            (Some(mut picture), Some(other)) => {
                picture.merge(*other);
                Some(picture)
            }
            (one, other) => one.or(other),
        };
    }

    /// Replaces every row index by `number(row)`.
    pub fn number_rows(&mut self, number: impl Fn(usize) -> usize) {
        self.kept.number_rows(&number);
        self.places.rows = self.places.rows.iter().map(number).collect();
    }

    /// Returns the mean relative error.
    pub fn mean_rel_err(&self) -> f64 {
        self.rel_err.sum.value() / self.counts.entries as f64
    }

    /// Returns `|analytic - numeric| / |numeric|` in the Frobenius norm, or 0 if the two are equal.
    pub fn norm_rel_err(&self) -> f64 {
        let error = self.sums.error_error.value();
        if error == 0.0 {
            0.0
        } else {
            (error / self.sums.numeric_numeric.value()).sqrt()
        }
    }

    /// Returns s = <analytic, numeric> / <numeric, numeric>, or `None` if the numeric gradient is 0
    /// or the analytic one is not finite.
    pub fn scale(&self) -> Option<f64> {
        let numeric = self.sums.numeric_numeric.value();
        let is_defined = self.counts.not_finite == 0 && numeric > 0.0;
        is_defined.then(|| self.sums.analytic_numeric.value() / numeric)
    }

    /// Returns the numbers of rows and columns that were compared, or `None` if no entry is wrong.
    pub(super) fn shape(&self) -> Option<[usize; 2]> {
        let columns = self.places.columns.len();
        (columns > 0).then(|| [(self.counts.entries / columns as u64) as usize, columns])
    }
}

/// Numbers of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries that were compared.
    pub entries: u64,
    /// Entries that are wrong.
    pub wrong: u64,
    /// Entries that the noise leaves undecided.
    pub undecided: u64,
    /// Entries of the gradient under test that are NaN or infinite.
    pub not_finite: u64,
}

impl Counts {
    fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.wrong += other.wrong;
        self.undecided += other.undecided;
        self.not_finite += other.not_finite;
    }
}

/// The relative errors `|analytic - numeric| / max(|analytic|, |numeric|)` of all entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RelErrs {
    /// The largest.
    #[serde(with = "number")]
    pub max: f64,
    /// The sum.
    pub sum: ExactSum,
    /// The distribution.
    pub histogram: Histogram,
}

impl RelErrs {
    fn merge(&mut self, other: Self) {
        self.max = self.max.max(other.max);
        self.sum.merge(&other.sum);
        self.histogram.merge(other.histogram);
    }
}

/// Sums over the entries of a gradient: all of them for `error_error`, the finite ones for the
/// rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// <analytic, analytic>.
    pub analytic_analytic: ExactSum,
    /// <analytic, numeric>.
    pub analytic_numeric: ExactSum,
    /// <numeric, numeric>.
    pub numeric_numeric: ExactSum,
    /// The sum of |numeric|.
    pub numeric_abs: ExactSum,
    /// The sum of |analytic - numeric|²; infinite if one of the two is not finite.
    pub error_error: ExactSum,
    /// The sum over the rows of (the row's sum of tolerance·|numeric|)². Its root bounds the error
    /// that the tolerance allows in <analytic, numeric> if the rows err independently.
    pub tolerance_tolerance: ExactSum,
    /// The sum of noise·|numeric|, which bounds the numeric gradient's error in
    /// <analytic, numeric>. These errors may all have the same sign.
    pub noise_numeric: ExactSum,
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.analytic_analytic.merge(&other.analytic_analytic);
        self.analytic_numeric.merge(&other.analytic_numeric);
        self.numeric_numeric.merge(&other.numeric_numeric);
        self.numeric_abs.merge(&other.numeric_abs);
        self.error_error.merge(&other.error_error);
        self.tolerance_tolerance.merge(&other.tolerance_tolerance);
        self.noise_numeric.merge(&other.noise_numeric);
    }
}

/// The errors that the comparison of single entries would have detected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The smallest relative error that would have made one of the entries wrong; infinite if none
    /// was compared.
    #[serde(with = "number")]
    pub least: f64,
    /// The corrupted copies of the gradient that would have had a wrong entry.
    pub caught: Caught,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            least: f64::INFINITY,
            caught: Caught::default(),
        }
    }
}

impl Sensitivity {
    fn merge(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.caught.merge(other.caught);
    }
}
