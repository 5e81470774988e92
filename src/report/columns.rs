//! Sums down the columns of a gradient. A wrong factor of one column shows in its sums long before
//! it shows in an entry.

use serde::{Deserialize, Serialize};

use rayon::prelude::*;

use super::ExactSum;

/// The number of columns above which their sums are not kept: they would take more memory than the
/// rows of the gradient.
const MOST_COLUMNS: usize = 4096;
/// Columns that are worth a thread.
const COLUMNS: usize = 64;

/// Sums over the entries of one column, or of several: `T` is a sum, a vector or an array of sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnSums<T = ExactSum> {
    /// <analytic, numeric>.
    pub analytic_numeric: T,
    /// <numeric, numeric>.
    pub numeric_numeric: T,
    /// The sum of (tolerance·|numeric|)²: the variance if the rows err independently.
    pub tolerance_tolerance: T,
    /// The sum of tolerance·|numeric|: the largest error if all rows err to the same side.
    pub tolerance_numeric: T,
    /// The sum of noise·|numeric|.
    pub noise_numeric: T,
    /// The sum of |numeric|.
    pub numeric_abs: T,
}

impl<T> ColumnSums<T> {
    /// The number of sums per column.
    pub(crate) const COUNT: usize = 6;

    /// Calls `add` with each sum and the same sum of `other`.
    #[inline(always)]
    pub(crate) fn zip<U>(&mut self, other: &ColumnSums<U>, mut add: impl FnMut(&mut T, &U)) {
        add(&mut self.analytic_numeric, &other.analytic_numeric);
        add(&mut self.numeric_numeric, &other.numeric_numeric);
        add(&mut self.tolerance_tolerance, &other.tolerance_tolerance);
        add(&mut self.tolerance_numeric, &other.tolerance_numeric);
        add(&mut self.noise_numeric, &other.noise_numeric);
        add(&mut self.numeric_abs, &other.numeric_abs);
    }
}

impl ColumnSums<Vec<f64>> {
    /// Returns sums of zero over m columns.
    pub(crate) fn zeros(m: usize) -> Self {
        let zeros = || vec![0.0; m];
        Self {
            analytic_numeric: zeros(),
            numeric_numeric: zeros(),
            tolerance_tolerance: zeros(),
            tolerance_numeric: zeros(),
            noise_numeric: zeros(),
            numeric_abs: zeros(),
        }
    }
}

/// The sums of every column; empty if there are too many columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns(pub Vec<ColumnSums>);

impl Columns {
    /// Returns true if sums are kept for this many columns.
    pub fn are_kept(columns: usize) -> bool {
        columns <= MOST_COLUMNS
    }

    /// Adds blocks of rows, whose sums are vectors over at least `columns` columns. Does nothing if
    /// there are too many columns.
    pub fn add(&mut self, blocks: &[ColumnSums<Vec<f64>>], columns: usize) {
        if !Self::are_kept(columns) {
            return;
        }
        self.0.resize(columns, ColumnSums::default());
        let sums = self.0.par_iter_mut().with_min_len(COLUMNS).enumerate();
        sums.for_each(|(column, sums)| {
            for block in blocks {
                sums.zip(block, |sum, of_block| sum.add(of_block[column]));
            }
        });
    }

    /// Adds the sums of other rows.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            let pairs = self.0.iter_mut().zip(&other.0);
            pairs.for_each(|(sums, other)| sums.zip(other, ExactSum::merge));
        }
    }
}
