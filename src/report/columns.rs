//! Sums down the columns of a gradient: one column that is off by a factor shows in them long before it shows in an entry.

use super::ExactSum;

/// Above so many columns their sums would take more memory than the gradient's rows.
const MOST_COLUMNS: usize = 4096;

/// What is summed over the entries of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSums {
    /// <analytic, numeric>.
    pub analytic_numeric: ExactSum,
    /// <numeric, numeric>.
    pub numeric_numeric: ExactSum,
    /// The sum of (allowed error times |numeric|)².
    pub allowed_allowed: ExactSum,
    /// The sum of |numeric|.
    pub numeric_abs: ExactSum,
}

impl ColumnSums {
    fn merge(&mut self, other: Self) {
        self.analytic_numeric.merge(other.analytic_numeric);
        self.numeric_numeric.merge(other.numeric_numeric);
        self.allowed_allowed.merge(other.allowed_allowed);
        self.numeric_abs.merge(other.numeric_abs);
    }
}

/// The sums of all columns; none where there are too many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub Vec<ColumnSums>);

impl Columns {
    /// Adds a block of rows, summed in order: four sums a column.
    pub fn add(&mut self, block: &[[f64; 4]]) {
        if block.len() > MOST_COLUMNS {
            return;
        }
        self.0.resize(block.len(), ColumnSums::default());
        for (
            sums,
            [
                analytic_numeric,
                numeric_numeric,
                allowed_allowed,
                numeric_abs,
            ],
        ) in self.0.iter_mut().zip(block)
        {
            sums.analytic_numeric.add(*analytic_numeric);
            sums.numeric_numeric.add(*numeric_numeric);
            sums.allowed_allowed.add(*allowed_allowed);
            sums.numeric_abs.add(*numeric_abs);
        }
    }

    /// Adds what was summed elsewhere.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0
                .iter_mut()
                .zip(other.0)
                .for_each(|(sums, other)| sums.merge(other));
        }
    }
}
