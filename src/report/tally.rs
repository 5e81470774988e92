//! What is counted over the entries of a gradient.

use super::{Columns, ExactSum, Histogram, Picture, WrongPlaces};
use crate::rounding::Caught;

/// How many entries are drawn at random, of the wrong ones and of the others.
const SAMPLES: usize = 6;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Off by no more than its tolerance and the noise, which is no larger than the tolerance.
    Right,
    /// Off by more.
    Wrong,
    /// The noise is too large to say.
    Undecided,
}

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
    /// What follows.
    pub decision: Decision,
}

impl Entry {
    /// |analytic - numeric| in units of what is allowed; above 1 the entry is wrong.
    pub fn severity(&self) -> f64 {
        severity(self.analytic, self.numeric, self.tolerance + self.noise)
    }
}

/// |analytic - numeric| in units of what is allowed; what is not a number is off without bounds.
pub fn severity(analytic: f64, numeric: f64, allowed: f64) -> f64 {
    let error = (analytic - numeric).abs();
    if error.is_nan() {
        f64::INFINITY
    } else {
        error / allowed
    }
}

/// Counts, sums and the worst entries. Made row by row; merged in any order, it is the same to the last bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Entries compared.
    pub entries: u64,
    /// Those that are wrong.
    pub wrong: u64,
    /// Those that the numeric error leaves undecided.
    pub undecided: u64,
    /// Those where the gradient under test is NaN or infinite.
    pub not_finite: u64,
    /// The largest relative error.
    pub max_rel_err: f64,
    /// The sum of relative errors.
    pub sum_rel_err: ExactSum,
    /// How relative errors are distributed.
    pub rel_err: Histogram,
    /// <analytic, analytic> over the finite entries, as the next two.
    pub analytic_analytic: ExactSum,
    /// <analytic, numeric>.
    pub analytic_numeric: ExactSum,
    /// <numeric, numeric>.
    pub numeric_numeric: ExactSum,
    /// The sum of |numeric|.
    pub numeric_abs: ExactSum,
    /// |analytic - numeric|², over all entries.
    pub error_error: ExactSum,
    /// The sum over the rows of (sum of tolerance times |numeric|)²: what averages out if the rows err independently.
    pub tolerance_tolerance: ExactSum,
    /// The sum of noise times |numeric|: what the numeric gradient may be off by, all to the same side.
    pub noise_numeric: ExactSum,
    /// Sums down the columns.
    pub columns: Columns,
    /// Where the wrong entries are.
    pub places: WrongPlaces,
    /// The least relative error that an entry would have been convicted of.
    pub least_detectable: f64,
    /// What would have become of wrong copies of the gradient.
    pub caught: Caught,
    /// The entries of greatest severity, the worst first.
    pub worst: Vec<Entry>,
    /// Wrong entries drawn at random.
    pub wrong_samples: Vec<Entry>,
    /// Other entries drawn at random.
    pub other_samples: Vec<Entry>,
    /// What a picture shows, where one was asked for.
    pub picture: Option<Box<Picture>>,
}

impl Tally {
    /// Gives every row that it names the number `number(row)`.
    pub fn number_rows(&mut self, number: impl Fn(usize) -> usize) {
        let named = [
            &mut self.worst,
            &mut self.wrong_samples,
            &mut self.other_samples,
        ];
        for entry in named.into_iter().flatten() {
            entry.row = number(entry.row);
        }
        self.places.rows = self.places.rows.iter().map(number).collect();
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            entries: 0,
            wrong: 0,
            undecided: 0,
            not_finite: 0,
            max_rel_err: 0.0,
            sum_rel_err: ExactSum::default(),
            rel_err: Histogram::default(),
            analytic_analytic: ExactSum::default(),
            analytic_numeric: ExactSum::default(),
            numeric_numeric: ExactSum::default(),
            numeric_abs: ExactSum::default(),
            error_error: ExactSum::default(),
            tolerance_tolerance: ExactSum::default(),
            noise_numeric: ExactSum::default(),
            columns: Columns::default(),
            places: WrongPlaces::default(),
            least_detectable: f64::INFINITY,
            caught: Caught::default(),
            worst: Vec::new(),
            wrong_samples: Vec::new(),
            other_samples: Vec::new(),
            picture: None,
        }
    }
}

impl Tally {
    /// How many of the worst entries are kept.
    pub const WORST: usize = 10;

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.wrong += other.wrong;
        self.undecided += other.undecided;
        self.not_finite += other.not_finite;
        self.max_rel_err = self.max_rel_err.max(other.max_rel_err);
        self.sum_rel_err.merge(&other.sum_rel_err);
        self.rel_err.merge(other.rel_err);
        self.analytic_analytic.merge(&other.analytic_analytic);
        self.analytic_numeric.merge(&other.analytic_numeric);
        self.numeric_numeric.merge(&other.numeric_numeric);
        self.numeric_abs.merge(&other.numeric_abs);
        self.error_error.merge(&other.error_error);
        self.tolerance_tolerance.merge(&other.tolerance_tolerance);
        self.noise_numeric.merge(&other.noise_numeric);
        self.columns.merge(other.columns);
        self.places.merge(other.places);
        self.least_detectable = self.least_detectable.min(other.least_detectable);
        self.caught.merge(other.caught);
        self.picture = match (self.picture.take(), other.picture) {
            (Some(mut picture), Some(other)) => {
                picture.merge(*other);
                Some(picture)
            }
            (one, other) => one.or(other),
        };
        other.worst.into_iter().for_each(|entry| self.note(entry));
        other
            .wrong_samples
            .into_iter()
            .chain(other.other_samples)
            .for_each(|entry| self.sample(entry));
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
        if place < Self::WORST {
            self.worst.insert(place, entry);
            self.worst.truncate(Self::WORST);
        }
    }

    /// The column of a row that may be drawn.
    pub fn sampled_column(row: usize, columns: usize) -> usize {
        (scramble(!row as u64) % columns as u64) as usize
    }

    /// The rows of these that are drawn.
    pub fn drawn(rows: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut rows: Vec<(u64, usize)> = rows.map(|row| (scramble(row as u64), row)).collect();
        rows.sort_unstable();
        rows.truncate(SAMPLES);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Keeps the entry, if the lot of its row is among the lowest: whichever rows are met first, it is the same draw.
    pub fn sample(&mut self, entry: Entry) {
        let lot = |entry: &Entry| {
            (
                scramble(entry.row as u64),
                entry.row,
                entry.column,
                entry.analytic.to_bits(),
            )
        };
        let kept = match entry.decision {
            Decision::Wrong => &mut self.wrong_samples,
            Decision::Right | Decision::Undecided => &mut self.other_samples,
        };
        let place = kept.partition_point(|kept| lot(kept) < lot(&entry));
        if place < SAMPLES {
            kept.insert(place, entry);
            kept.truncate(SAMPLES);
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

    /// s = <analytic, numeric> / <numeric, numeric>; none where there is nothing to divide by.
    pub fn scale(&self) -> Option<f64> {
        let numeric = self.numeric_numeric.value();
        (self.not_finite == 0 && numeric > 0.0).then(|| self.analytic_numeric.value() / numeric)
    }
}

/// A bijection of 64 bits without pattern (the finaliser of SplitMix64; Steele, Lea and Flood, 2014).
fn scramble(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: usize, error: f64) -> Entry {
        let decision = if error > 1.0 {
            Decision::Wrong
        } else {
            Decision::Right
        };
        Entry {
            row,
            column: 0,
            analytic: error,
            numeric: 0.0,
            rel_err: 1.0,
            noise: 0.5,
            tolerance: 0.5,
            decision,
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

    #[test]
    fn draws_do_not_depend_on_the_order() {
        let draw = |rows: &mut dyn Iterator<Item = usize>| {
            let mut tally = Tally::default();
            rows.for_each(|row| tally.sample(entry(row, (row % 3) as f64)));
            tally
        };
        let forward = draw(&mut (0..1000));
        assert_eq!(forward, draw(&mut (0..1000).rev()));
        assert_eq!(
            (forward.wrong_samples.len(), forward.other_samples.len()),
            (SAMPLES, SAMPLES)
        );
        assert!(forward.wrong_samples.iter().all(|entry| entry.row % 3 == 2));
    }
}
