//! What is counted over the entries of a gradient.

use super::{ExactSum, Histogram};

/// How many of the worst entries are kept.
const WORST: usize = 10;

/// One entry of the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Its row (sample).
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// The gradient under test.
    pub analytic: f64,
    /// The finite difference.
    pub numeric: f64,
    /// |analytic - numeric| / max(|analytic|, |numeric|).
    pub rel_err: f64,
    /// The bound on the numeric error.
    pub noise: f64,
    /// How far analytic may be from the exact derivative.
    pub tolerance: f64,
}

impl Entry {
    /// |analytic - numeric| in units of what is allowed; above 1 the entry is wrong.
    pub fn severity(&self) -> f64 {
        let error = (self.analytic - self.numeric).abs();
        if error.is_nan() {
            f64::INFINITY
        } else {
            error / (self.tolerance + self.noise)
        }
    }
}

/// Counts, sums and the worst entries. Made row by row; merged in any order, it is the same to the last bit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Entries compared.
    pub entries: u64,
    /// Those that are wrong.
    pub wrong: u64,
    /// Those that the numeric error leaves undecided.
    pub undecided: u64,
    /// Those whose derivative rises above noise and tolerance.
    pub seen: u64,
    /// Those where the gradient under test is NaN or infinite.
    pub not_finite: u64,
    /// The largest relative error.
    pub max_rel_err: f64,
    /// The sum of relative errors.
    pub sum_rel_err: ExactSum,
    /// How relative errors are distributed.
    pub rel_err: Histogram,
    /// <analytic, analytic> over the finite entries, as the next three.
    pub analytic_analytic: ExactSum,
    /// <analytic, numeric>.
    pub analytic_numeric: ExactSum,
    /// <numeric, numeric>.
    pub numeric_numeric: ExactSum,
    /// |analytic - numeric|², over all entries.
    pub error_error: ExactSum,
    /// The entries of greatest severity, the worst first.
    pub worst: Vec<Entry>,
}

impl Tally {
    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.wrong += other.wrong;
        self.undecided += other.undecided;
        self.seen += other.seen;
        self.not_finite += other.not_finite;
        self.max_rel_err = self.max_rel_err.max(other.max_rel_err);
        self.sum_rel_err.merge(other.sum_rel_err);
        self.rel_err.merge(&other.rel_err);
        self.analytic_analytic.merge(other.analytic_analytic);
        self.analytic_numeric.merge(other.analytic_numeric);
        self.numeric_numeric.merge(other.numeric_numeric);
        self.error_error.merge(other.error_error);
        for entry in other.worst {
            self.note(entry);
        }
    }

    /// Keeps the entry, if it is among the worst.
    pub fn note(&mut self, entry: Entry) {
        let key = |entry: &Entry| (entry.row, entry.column);
        let place = self.worst.partition_point(|kept| {
            kept.severity()
                .total_cmp(&entry.severity())
                .then(key(&entry).cmp(&key(kept)))
                .is_gt()
        });
        if place < WORST {
            self.worst.insert(place, entry);
            self.worst.truncate(WORST);
        }
    }

    /// The mean relative error.
    pub fn mean_rel_err(&self) -> f64 {
        self.sum_rel_err.value() / self.entries as f64
    }

    /// |analytic - numeric| / |numeric| in the Frobenius norm, 0 where both are 0.
    pub fn norm_rel_err(&self) -> f64 {
        let error = self.error_error.value();
        if error == 0.0 {
            0.0
        } else {
            (error / self.numeric_numeric.value()).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: usize, error: f64) -> Entry {
        Entry {
            row,
            column: 0,
            analytic: error,
            numeric: 0.0,
            rel_err: 1.0,
            noise: 0.5,
            tolerance: 0.5,
        }
    }

    #[test]
    fn the_worst_come_first_and_ties_go_by_place() {
        let mut tally = Tally::default();
        for row in (0..30).rev() {
            tally.note(entry(row, (row / 2) as f64));
        }
        tally.note(entry(99, f64::NAN));
        let rows: Vec<usize> = tally.worst.iter().map(|entry| entry.row).collect();
        assert_eq!(rows, [99, 28, 29, 26, 27, 24, 25, 22, 23, 20]);
    }
}
