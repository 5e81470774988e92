//! The comparison of a strip in lanes: about a fifth of a check's processor time. The whole check
//! does 4.4e8 entries per second on two cores (16384x784x10, 2026-11-23, benches/RESULTS.md).
//!
//! 1. The loop takes a group of [`LANES`] columns through all rows of the strip. The sums down its
//!    columns ([`ColumnSums`]) and over its entries ([`Totals`]) then stay in registers.
//! 2. Each row loads its entries of the group. The last group may be narrower: its other lanes hold
//!    zeros, which add nothing to a sum, and counts leave them out.
//! 3. Derivative and conditioning are multiplied by 1/Z, and every lane is judged
//!    ([`RowBounds::judge_by`]).
//! 4. Products are accumulated by fused multiply-add. Maxima, minima and choices are written as
//!    `if` expressions, which become one vector instruction; the NaN rule of `f64::max` takes
//!    three. Rows with an entry that is not finite are compared elsewhere.
//! 5. Verdicts are counted per lane ([`Counts`]). One count per row holds the wrong entries in its
//!    low half, and the candidates for the worst entries in its high half.
//! 6. Corrupted copies of the gradient are judged only until each has been caught once.
//! 7. The bins of the histogram are stored, and counted later, row by row: the place of a count
//!    depends on the lane's value, so counting does not run in vectors.

use super::strip::{RowEntries, Strip};
use crate::{
    cpu::{larger, matmul::padded},
    report::{ColumnSums, Histogram, Tally},
    rounding::{Caught, Conditioning, RowBounds},
};

/// Entries that are compared side by side: one f64 vector of AVX-512.
pub(super) const LANES: usize = 8;

/// One candidate for the worst entries, in [`RowTotals::counts`].
const CANDIDATE: u64 = 1 << 32;

/// The results of one thread for a block, reused from block to block.
#[derive(Default)]
pub(super) struct Scratch {
    /// Sums down the columns of the block, [m] each, padded to whole groups of lanes.
    pub(super) columns: ColumnSums<Vec<f64>>,
    /// Histogram bins of the errors of the strip, [rows·m].
    pub(super) bins: Vec<u32>,
    /// The rows of the strip whose entries are all finite.
    pub(super) rows: Vec<Row>,
    /// The sums over each of `rows`.
    pub(super) totals: Vec<RowTotals>,
}

/// A row of the strip that is compared in lanes.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The row's index in the strip.
    pub(super) here: usize,
    pub(super) bounds: RowBounds,
}

/// The limits of a strip beyond which an entry is a candidate for the worst or for the most
/// sensitive one.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// The severity of the worst.
    pub(super) severity: f64,
    /// Of the most sensitive: allowed + `per_error`·error against `per_numeric`·|numeric|.
    pub(super) per_error: f64,
    pub(super) per_numeric: f64,
}

/// Sums over the entries of one row, in lanes.
#[derive(Clone, Copy, Default)]
pub(super) struct RowTotals {
    pub(super) tolerance_numeric: [f64; LANES],
    /// The number of wrong entries, plus [`CANDIDATE`] times the number of candidates for the
    /// worst.
    counts: Counts,
}

/// A count per lane.
///
/// A lane counts the entries of a block at most, so it cannot overflow. The additions wrap because
/// a check for overflow would keep the loop out of vectors and halve the speed of a check.
#[derive(Clone, Copy, Default)]
struct Counts([u64; LANES]);

impl Counts {
    #[inline(always)]
    fn add(&mut self, lane: usize, count: u64) {
        self.0[lane] = self.0[lane].wrapping_add(count);
    }

    #[inline(always)]
    fn merge(&mut self, other: &Self) {
        for lane in 0..LANES {
            self.add(lane, other.0[lane]);
        }
    }

    /// Returns the sum over the lanes.
    fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl RowTotals {
    /// Returns the number of wrong entries, and the lanes with candidates for the worst.
    pub(super) fn counts(&self) -> (u64, [bool; LANES]) {
        let wrong = self.counts.0.iter().map(|count| count % CANDIDATE).sum();
        (wrong, self.counts.0.map(|count| count >= CANDIDATE))
    }
}

/// Sums and counts over all entries, in lanes.
#[derive(Clone, Copy)]
pub(super) struct Totals {
    rel_err: [f64; LANES],
    analytic_analytic: [f64; LANES],
    error_error: [f64; LANES],
    max_rel_err: [f64; LANES],
    undecided: Counts,
    zeroed: Counts,
    flipped: Counts,
    scaled: Counts,
    shuffled: Counts,
    shuffle_differs: Counts,
}

impl Default for Totals {
    fn default() -> Self {
        let (zeros, none) = ([0.0; LANES], Counts::default());
        Self {
            rel_err: zeros,
            analytic_analytic: zeros,
            error_error: zeros,
            max_rel_err: zeros,
            undecided: none,
            zeroed: none,
            flipped: none,
            scaled: none,
            shuffled: none,
            shuffle_differs: none,
        }
    }
}

/// Compares all columns of the strip. `noise` holds each column's noise per unit of conditioning.
#[inline(always)]
pub(super) fn compare<const IS_GIVEN: bool, const CATCHES: bool>(
    scratch: &mut Scratch,
    totals: &mut Totals,
    strip: &Strip,
    noise: &[f64],
    limits: Limits,
) {
    let whole = noise.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        compare_group::<true, IS_GIVEN, CATCHES>(scratch, totals, strip, noise, limits, start);
    }
    if whole < noise.len() {
        compare_group::<false, IS_GIVEN, CATCHES>(scratch, totals, strip, noise, limits, whole);
    }
}

/// Compares a group of columns: [`LANES`] of them, or those that are left.
#[inline(always)]
fn compare_group<const IS_WHOLE: bool, const IS_GIVEN: bool, const CATCHES: bool>(
    scratch: &mut Scratch,
    totals: &mut Totals,
    strip: &Strip,
    noise: &[f64],
    limits: Limits,
    start: usize,
) {
    let columns = noise.len();
    let width = if IS_WHOLE { LANES } else { columns - start };
    let noise = load(&noise[start..start + width]);
    // Locals, so that the compiler sees that they do not alias the scratch memory.
    let (mut sums, mut all) = (ColumnSums::default(), Totals::default());
    for (row, of_row) in scratch.rows.iter().zip(&mut scratch.totals) {
        let row = *row;
        let entries = Entries::load(&strip.row(row.here, columns), start, width);
        let bins = all.add::<IS_WHOLE, IS_GIVEN, CATCHES>(
            &mut sums, of_row, &row, limits, &noise, &entries, width,
        );
        let place = row.here * columns + start;
        store(&mut scratch.bins[place..place + width], bins);
    }
    totals.merge(&all);
    scratch.columns.zip(&sums, |of_columns, sums| {
        let of_columns = of_columns[start..start + LANES].iter_mut();
        of_columns.zip(sums).for_each(|(sum, term)| *sum += term);
    });
}

impl Totals {
    /// Adds a group of entries of a row; only the first `width` lanes hold entries. Returns the
    /// histogram bins of their errors.
    #[inline(always)]
    fn add<const IS_WHOLE: bool, const IS_GIVEN: bool, const CATCHES: bool>(
        &mut self,
        columns: &mut ColumnSums<[f64; LANES]>,
        of_row: &mut RowTotals,
        row: &Row,
        limits: Limits,
        noise: &[f64; LANES],
        entries: &Entries,
        width: usize,
    ) -> [u32; LANES] {
        let mut bins = [0; LANES];
        for lane in 0..LANES {
            let (a, next) = (entries.analytic[lane], entries.next[lane]);
            let g = entries.derivative[lane] * entries.per_normalizer;
            let c = Conditioning {
                analytic: entries.tolerated[lane] * entries.per_normalizer,
                numeric: entries.conditioning[lane] * entries.per_normalizer,
            };
            let judgement = row.bounds.judge_by::<IS_GIVEN>(a, g, c, noise[lane]);
            let (error, largest, g_abs) = (judgement.error, judgement.largest, g.abs());
            let allowed = judgement.allowed();
            let rel_err = error / if largest > 0.0 { largest } else { 1.0 };
            bins[lane] = Histogram::bin(rel_err);
            let (t, e) = (judgement.tolerance * g_abs, judgement.noise * g_abs);
            columns.analytic_numeric[lane] = a.mul_add(g, columns.analytic_numeric[lane]);
            columns.numeric_numeric[lane] = g.mul_add(g, columns.numeric_numeric[lane]);
            columns.tolerance_tolerance[lane] = t.mul_add(t, columns.tolerance_tolerance[lane]);
            columns.tolerance_numeric[lane] += t;
            columns.noise_numeric[lane] += e;
            columns.numeric_abs[lane] += g_abs;
            of_row.tolerance_numeric[lane] += t;
            self.rel_err[lane] += rel_err;
            self.analytic_analytic[lane] = a.mul_add(a, self.analytic_analytic[lane]);
            self.error_error[lane] = error.mul_add(error, self.error_error[lane]);
            self.max_rel_err[lane] = larger(rel_err, self.max_rel_err[lane]);
            let is_there = IS_WHOLE | (lane < width);
            let count = |is_counted: bool| u64::from(is_counted & is_there);
            let is_candidate = (error > limits.severity * allowed)
                | (limits.per_error.mul_add(error, allowed) < limits.per_numeric * g_abs);
            let candidate = if is_candidate { CANDIDATE } else { 0 };
            of_row.counts.add(lane, count(judgement.is_wrong));
            of_row
                .counts
                .add(lane, if is_there { candidate } else { 0 });
            self.undecided
                .add(lane, count(!judgement.is_wrong & !judgement.is_certain));
            if CATCHES {
                let caught = Caught::new(a, next, g, allowed);
                self.zeroed.add(lane, count(caught.zeroed));
                self.flipped.add(lane, count(caught.flipped));
                self.scaled.add(lane, count(caught.scaled));
                self.shuffled.add(lane, count(caught.shuffled));
                self.shuffle_differs
                    .add(lane, count(caught.shuffle_differs));
            }
        }
        bins
    }

    /// Adds the totals of another group.
    #[inline(always)]
    fn merge(&mut self, other: &Self) {
        for lane in 0..LANES {
            self.rel_err[lane] += other.rel_err[lane];
            self.analytic_analytic[lane] += other.analytic_analytic[lane];
            self.error_error[lane] += other.error_error[lane];
            self.max_rel_err[lane] = larger(other.max_rel_err[lane], self.max_rel_err[lane]);
        }
        self.undecided.merge(&other.undecided);
        self.zeroed.merge(&other.zeroed);
        self.flipped.merge(&other.flipped);
        self.scaled.merge(&other.scaled);
        self.shuffled.merge(&other.shuffled);
        self.shuffle_differs.merge(&other.shuffle_differs);
    }

    /// Adds the totals of a block to the tally.
    pub(super) fn add_to(&self, tally: &mut Tally) {
        let sum = |values: &[f64; LANES]| values.iter().sum::<f64>();
        tally.rel_err.sum.add(sum(&self.rel_err));
        tally
            .sums
            .analytic_analytic
            .add(sum(&self.analytic_analytic));
        tally.sums.error_error.add(sum(&self.error_error));
        let most = self.max_rel_err.iter().copied();
        tally.rel_err.max = most.fold(tally.rel_err.max, f64::max);
        tally.counts.undecided += self.undecided.sum();
        tally.sensitivity.caught.merge(Caught {
            zeroed: self.zeroed.sum() > 0,
            flipped: self.flipped.sum() > 0,
            scaled: self.scaled.sum() > 0,
            shuffled: self.shuffled.sum() > 0,
            shuffle_differs: self.shuffle_differs.sum() > 0,
        });
    }
}

/// Adjacent entries of a row, one per lane; zeros in the lanes beyond the last column.
struct Entries {
    analytic: [f64; LANES],
    /// The analytic entries of the next columns.
    next: [f64; LANES],
    /// The derivative, not divided by the normalizer.
    derivative: [f64; LANES],
    /// The conditioning, not divided by the normalizer.
    conditioning: [f64; LANES],
    /// The conditioning for the tolerance, not divided by the normalizer.
    tolerated: [f64; LANES],
    /// The factor 1/Z.
    per_normalizer: f64,
}

impl Entries {
    /// Loads `width` entries from column `start` on.
    #[inline(always)]
    fn load(row: &RowEntries<'_>, start: usize, width: usize) -> Self {
        let end = start + width;
        Self {
            analytic: load(&row.analytic[start..end]),
            next: next(row.analytic, start, width),
            derivative: load(&row.derivative[start..end]),
            conditioning: load(&row.conditioning[start..end]),
            tolerated: load(&row.tolerated[start..end]),
            per_normalizer: row.per_normalizer,
        }
    }
}

/// Returns up to [`LANES`] values, followed by zeros.
#[inline(always)]
fn load(values: &[f64]) -> [f64; LANES] {
    match values.try_into() {
        Ok(lanes) => lanes,
        Err(_) => padded(values),
    }
}

/// Returns `width` entries of a row from column `start + 1` on. The first column follows the last.
#[inline(always)]
fn next(row: &[f64], start: usize, width: usize) -> [f64; LANES] {
    match row.get(start + 1..start + 1 + width) {
        Some(next) => load(next),
        None => next_of_last(row, start, width),
    }
}

/// Returns the same as [`next`] for the last group of a row. Not inlined, for the same reason as
/// [`padded`].
#[cold]
#[inline(never)]
fn next_of_last(row: &[f64], start: usize, width: usize) -> [f64; LANES] {
    let mut next: [f64; LANES] = padded(&row[start + 1..]);
    next[width - 1] = row[0];
    next
}

/// Stores the leading lanes that fit into `place`.
#[inline(always)]
fn store(place: &mut [u32], lanes: [u32; LANES]) {
    match <&mut [u32; LANES]>::try_from(&mut *place) {
        Ok(place) => *place = lanes,
        Err(_) => store_some(place, lanes),
    }
}

/// Stores fewer than [`LANES`] lanes. Not inlined, for the same reason as [`padded`].
#[cold]
#[inline(never)]
fn store_some(place: &mut [u32], lanes: [u32; LANES]) {
    place.copy_from_slice(&lanes[..place.len()]);
}
