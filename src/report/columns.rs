//! Sums down the columns of a gradient: one column that is off by a factor shows in them long before it shows in an entry.

use rayon::prelude::*;

use super::ExactSum;

/// Above so many columns their sums would take more memory than the gradient's rows.
const MOST_COLUMNS: usize = 4096;
/// Columns that are worth a thread.
const COLUMNS: usize = 64;

/// How many sums a column has.
pub const COLUMN_SUMS: usize = 6;

/// What is summed over the entries of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSums {
    /// <analytic, numeric>.
    pub analytic_numeric: ExactSum,
    /// <numeric, numeric>.
    pub numeric_numeric: ExactSum,
    /// The sum of (tolerance times |numeric|)².
    pub tolerance_tolerance: ExactSum,
    /// The sum of tolerance times |numeric|: what they may come to if all rows err to the same side.
    pub tolerance_numeric: ExactSum,
    /// The sum of noise times |numeric|.
    pub noise_numeric: ExactSum,
    /// The sum of |numeric|.
    pub numeric_abs: ExactSum,
}

impl ColumnSums {
    fn merge(&mut self, other: &Self) {
        self.analytic_numeric.merge(&other.analytic_numeric);
        self.numeric_numeric.merge(&other.numeric_numeric);
        self.tolerance_tolerance.merge(&other.tolerance_tolerance);
        self.tolerance_numeric.merge(&other.tolerance_numeric);
        self.noise_numeric.merge(&other.noise_numeric);
        self.numeric_abs.merge(&other.numeric_abs);
    }
}

/// The sums of all columns; none where there are too many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub Vec<ColumnSums>);

impl Columns {
    /// Whether the sums of so many columns are.
    pub fn are_kept(columns: usize) -> bool {
        columns <= MOST_COLUMNS
    }

    /// Adds blocks of rows, each summed in order: a vector over the columns, and perhaps some room, for each of the sums.
    /// None are kept where there are too many.
    pub fn add(&mut self, blocks: &[[Vec<f64>; COLUMN_SUMS]], columns: usize) {
        if !Self::are_kept(columns) {
            return;
        }
        self.0.resize(columns, ColumnSums::default());
        let sums = self.0.par_iter_mut().with_min_len(COLUMNS).enumerate();
        sums.for_each(|(column, sums)| {
            for block in blocks {
                sums.analytic_numeric.add(block[0][column]);
                sums.numeric_numeric.add(block[1][column]);
                sums.tolerance_tolerance.add(block[2][column]);
                sums.tolerance_numeric.add(block[3][column]);
                sums.noise_numeric.add(block[4][column]);
                sums.numeric_abs.add(block[5][column]);
            }
        });
    }

    /// Adds what was summed elsewhere.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0
                .iter_mut()
                .zip(&other.0)
                .for_each(|(sums, other)| sums.merge(other));
        }
    }
}
