//! Entry by entry: the numeric gradient from an evaluation, its error against the gradient under test, the verdict; and what
//! the same comparison would have made of a gradient that is certainly wrong.
//!
//! Rows are taken a few at a time, from the losses to the tally, so that nothing leaves the cache on the way; within a row
//! entries are taken in lanes.

use std::ops::Range;

use rayon::prelude::*;

use super::noise::Noise;
use crate::{
    cpu::{matmul::padded, simd},
    plan::{Evaluation, Plan, RowSource},
    problem::{Problem, Wrt},
    report::{COLUMN_SUMS, Caught, Columns, Decision, Entry, Histogram, Picture, Tally, Tolerance},
    scheme::Method,
};

/// Entries of a block, whose columns are summed as one: enough to make the exact sums cheap, few enough for several threads.
const BLOCK_ENTRIES: usize = 1 << 18;
const MOST_BLOCK_ROWS: usize = 512;
/// Entries that are evaluated and compared at a time: each of their half a dozen vectors is 64 KiB.
const PART_ENTRIES: usize = 1 << 13;
const MOST_PART_ROWS: usize = 64;
/// Elements of a weight that stays in a second-level cache with its tables.
const CACHED_WEIGHT: usize = 1 << 15;
/// Logits, or entries, of the rows of a part where it does not: each of their half a dozen vectors is 8 MiB.
const MOST_PART_LOGITS: usize = 1 << 20;
/// Fewer rows than that leave the tiles of the matrix products unused.
const LEAST_ROWS: usize = 4;
/// Entries that are compared side by side: a vector of AVX-512.
const LANES: usize = 8;

/// Multiply-adds of a block, unless they make it so short that a pass over a large weight does not pay: a hundredth of a second.
const BLOCK_WORK: usize = 1 << 25;
const LEAST_BLOCK_ROWS: usize = 16;

/// Rows of a block: blocks begin at multiples of it.
pub(crate) fn block_rows(problem: &Problem, plan: &Plan) -> usize {
    let by_entries = BLOCK_ENTRIES / problem.columns(plan.wrt);
    let by_work = plan.rows_at_a_time(problem, BLOCK_WORK);
    let (by_work, least) = match plan.method {
        // Its rows are classes, and evaluated before.
        _ if plan.wrt.is_parameter() => (MOST_BLOCK_ROWS, LEAST_ROWS),
        Method::Difference => (by_work.max(LEAST_BLOCK_ROWS), LEAST_ROWS),
        Method::ForwardPass => (by_work, 1),
    };
    by_entries.min(by_work).clamp(least, MOST_BLOCK_ROWS)
}

/// Rows that are evaluated and compared at a time: few, so that they stay in the cache; but where the weight does not, enough to be
/// worth a pass over it.
pub(crate) fn part_rows(problem: &Problem, wrt: Wrt) -> usize {
    let (k, d) = (problem.k(), problem.d());
    let rows = if k * d > CACHED_WEIGHT {
        MOST_PART_LOGITS / k.max(d)
    } else {
        PART_ENTRIES / problem.columns(wrt)
    };
    rows.clamp(LEAST_ROWS, MOST_PART_ROWS)
        .next_multiple_of(LEAST_ROWS)
}

/// What all entries of one gradient are compared by.
pub(crate) struct Comparator<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) plan: Plan,
    pub(crate) tolerance: Tolerance,
    /// Of the gradient under test.
    pub(crate) unit_roundoff: f64,
    pub(crate) noise: Noise,
    /// Whether a picture of the errors is wanted.
    pub(crate) draws: bool,
}

/// What a thread needs for a block and its parts.
#[derive(Default)]
struct Scratch {
    part: Strip,
    /// Down the rows of the block, [m] each and room for whole groups.
    columns: [Vec<f64>; COLUMN_SUMS],
    /// Of the part at hand, [rows·m]: where in the histogram each error belongs.
    bins: Vec<u32>,
    /// Of the part at hand.
    rows: Vec<Row>,
    /// Of its rows.
    totals: Vec<RowTotals>,
}

/// A row of the part at hand.
#[derive(Clone, Copy)]
struct Row {
    /// In the part.
    here: usize,
    bounds: Bounds,
}

/// What is told of each row, in lanes.
#[derive(Clone, Copy, Default)]
struct RowTotals {
    tolerance_numeric: [f64; LANES],
    /// Wrong entries; and those that may belong to the worst, times [`BAD`].
    counts: [u64; LANES],
}

const BAD: u64 = 1 << 32;

/// What the entries of a row are held against.
#[derive(Clone, Copy)]
struct Bounds {
    /// Times the conditioning.
    rounding: f64,
    /// Times |numeric|.
    drift: f64,
    floor: f64,
    /// Whether `rtol` and `atol` take the place of the three.
    is_given: bool,
    rtol: f64,
    atol: f64,
    /// Times the conditioning, as is each column's own.
    noise_by_row: f64,
    /// Times |numeric|.
    noise_drift: f64,
    noise_floor: f64,
    /// Times what is allowed: above it an entry may belong to the worst.
    threshold: f64,
}

/// An entry against its bounds.
struct Held {
    /// max(|analytic|, |numeric|).
    largest: f64,
    /// |analytic - numeric|.
    error: f64,
    tolerance: f64,
    noise: f64,
    /// Off by more than both.
    is_wrong: bool,
    /// Off by no more, the noise no larger than the tolerance.
    is_right: bool,
}

impl Bounds {
    /// Holds an entry against its bounds; `noise` is its column's.
    #[inline(always)]
    fn hold(&self, analytic: f64, numeric: f64, conditioning: f64, noise: f64) -> Held {
        if self.is_given {
            self.hold_by::<true>(analytic, numeric, conditioning, noise)
        } else {
            self.hold_by::<false>(analytic, numeric, conditioning, noise)
        }
    }

    /// The same where it is known whether tolerances are given.
    #[inline(always)]
    fn hold_by<const IS_GIVEN: bool>(
        &self,
        analytic: f64,
        numeric: f64,
        conditioning: f64,
        noise: f64,
    ) -> Held {
        let (a_abs, g_abs) = (analytic.abs(), numeric.abs());
        let largest = if a_abs > g_abs { a_abs } else { g_abs };
        let error = (analytic - numeric).abs();
        let rounding = self
            .rounding
            .mul_add(conditioning, self.drift.mul_add(g_abs, self.floor));
        let given = self.rtol.mul_add(largest, self.atol);
        let tolerance = if IS_GIVEN { given } else { rounding };
        let noise_floor = self.noise_drift.mul_add(g_abs, self.noise_floor);
        let noise = conditioning.mul_add(noise + self.noise_by_row, noise_floor);
        // An absolute tolerance is no evidence for an entry that is smaller; what rounding explains is.
        let certified = !IS_GIVEN | (largest >= self.atol) | (error <= rounding + noise);
        let is_wrong = error > tolerance + noise;
        Held {
            largest,
            error,
            tolerance,
            noise,
            is_wrong,
            is_right: !is_wrong & (noise <= tolerance) & certified,
        }
    }
}

/// A few entries of a row, zeros where there are none.
struct Entries {
    analytic: [f64; LANES],
    /// The same moved by one column.
    next: [f64; LANES],
    /// Not divided by the normaliser yet, as the next.
    derivative: [f64; LANES],
    conditioning: [f64; LANES],
    per_normalizer: f64,
}

/// What is summed and counted over all entries, in lanes.
#[derive(Clone, Copy)]
struct Totals {
    rel_err: [f64; LANES],
    analytic_analytic: [f64; LANES],
    error_error: [f64; LANES],
    max_rel_err: [f64; LANES],
    /// The least allowed/|numeric|.
    least: [f64; LANES],
    undecided: [u64; LANES],
    zeroed: [u64; LANES],
    flipped: [u64; LANES],
    scaled: [u64; LANES],
    shuffled: [u64; LANES],
    moved: [u64; LANES],
}

/// Sums down a few columns, in the order of [`Columns::add`](crate::report::Columns::add).
type Sums = [[f64; LANES]; COLUMN_SUMS];

impl Default for Totals {
    fn default() -> Self {
        let (zeros, none) = ([0.0; LANES], [0; LANES]);
        Self {
            rel_err: zeros,
            analytic_analytic: zeros,
            error_error: zeros,
            max_rel_err: zeros,
            least: [f64::INFINITY; LANES],
            undecided: none,
            zeroed: none,
            flipped: none,
            scaled: none,
            shuffled: none,
            moved: none,
        }
    }
}

impl Totals {
    /// Adds a few entries of a row, of which only the first `width` are there; returns where in the histogram their errors belong.
    #[inline(always)]
    fn add<const IS_WHOLE: bool, const IS_GIVEN: bool, const CATCHES: bool>(
        &mut self,
        columns: &mut Sums,
        row: &mut RowTotals,
        bounds: &Bounds,
        noise: &[f64; LANES],
        entries: &Entries,
        width: usize,
    ) -> [u32; LANES] {
        let mut bins = [0; LANES];
        for lane in 0..LANES {
            let (a, next) = (entries.analytic[lane], entries.next[lane]);
            let g = entries.derivative[lane] * entries.per_normalizer;
            let c = entries.conditioning[lane] * entries.per_normalizer;
            let held = bounds.hold_by::<IS_GIVEN>(a, g, c, noise[lane]);
            let (error, largest, g_abs) = (held.error, held.largest, g.abs());
            let allowed = held.tolerance + held.noise;
            let rel_err = error / if largest > 0.0 { largest } else { 1.0 };
            bins[lane] = Histogram::bin(rel_err);
            let (t, e) = (held.tolerance * g_abs, held.noise * g_abs);
            columns[0][lane] = a.mul_add(g, columns[0][lane]);
            columns[1][lane] = g.mul_add(g, columns[1][lane]);
            columns[2][lane] = t.mul_add(t, columns[2][lane]);
            columns[3][lane] += t;
            columns[4][lane] += e;
            columns[5][lane] += g_abs;
            row.tolerance_numeric[lane] += t;
            self.rel_err[lane] += rel_err;
            self.analytic_analytic[lane] = a.mul_add(a, self.analytic_analytic[lane]);
            self.error_error[lane] = error.mul_add(error, self.error_error[lane]);
            let most = self.max_rel_err[lane];
            self.max_rel_err[lane] = if rel_err > most { rel_err } else { most };
            let (detectable, least) = (allowed / g_abs, self.least[lane]);
            self.least[lane] = if detectable < least {
                detectable
            } else {
                least
            };
            let is_there = IS_WHOLE | (lane < width);
            let count = |is_counted: bool| u64::from(is_counted & is_there);
            let bad = if error > bounds.threshold * allowed {
                BAD
            } else {
                0
            };
            row.counts[lane] += count(held.is_wrong) + if is_there { bad } else { 0 };
            self.undecided[lane] += count(!held.is_wrong & !held.is_right);
            // Corrupted copies of the gradient go through the same comparison.
            if !CATCHES {
                continue;
            }
            self.zeroed[lane] += count(g_abs > allowed);
            self.flipped[lane] += count((a + g).abs() > allowed);
            self.scaled[lane] += count((1.5 * a - g).abs() > allowed);
            self.shuffled[lane] += count((next - g).abs() > allowed);
            self.moved[lane] += count(next != a);
        }
        bins
    }

    #[inline(always)]
    fn merge(&mut self, other: &Self) {
        for lane in 0..LANES {
            self.rel_err[lane] += other.rel_err[lane];
            self.analytic_analytic[lane] += other.analytic_analytic[lane];
            self.error_error[lane] += other.error_error[lane];
            let (most, others) = (self.max_rel_err[lane], other.max_rel_err[lane]);
            self.max_rel_err[lane] = if others > most { others } else { most };
            let (least, others) = (self.least[lane], other.least[lane]);
            self.least[lane] = if others < least { others } else { least };
            self.undecided[lane] += other.undecided[lane];
            self.zeroed[lane] += other.zeroed[lane];
            self.flipped[lane] += other.flipped[lane];
            self.scaled[lane] += other.scaled[lane];
            self.shuffled[lane] += other.shuffled[lane];
            self.moved[lane] += other.moved[lane];
        }
    }

    fn add_to(&self, tally: &mut Tally) {
        let sum = |values: &[f64; LANES]| values.iter().sum::<f64>();
        let count = |counts: &[u64; LANES]| counts.iter().sum::<u64>();
        tally.sum_rel_err.add(sum(&self.rel_err));
        tally.analytic_analytic.add(sum(&self.analytic_analytic));
        tally.error_error.add(sum(&self.error_error));
        tally.max_rel_err = self
            .max_rel_err
            .iter()
            .copied()
            .fold(tally.max_rel_err, f64::max);
        let least = self.least.iter().copied();
        tally.least_detectable = least.fold(tally.least_detectable, f64::min);
        tally.undecided += count(&self.undecided);
        tally.caught.merge(Caught {
            zeroed: count(&self.zeroed) > 0,
            flipped: count(&self.flipped) > 0,
            scaled: count(&self.scaled) > 0,
            shuffled: count(&self.shuffled) > 0,
            moved: count(&self.moved) > 0,
        });
    }
}

/// Whether all values are; none is left out, so that many are looked at at once.
fn are_finite(a: &[f64], b: &[f64]) -> bool {
    simd(
        #[inline(always)]
        || {
            let others = a
                .iter()
                .zip(b)
                .map(|(a, b)| u64::from(!(a.is_finite() & b.is_finite())));
            others.sum::<u64>() == 0
        },
    )
}

/// The severity above which an entry belongs to the worst; of equals the first was met first.
fn threshold(tally: &Tally) -> f64 {
    match tally.worst.len() {
        Tally::WORST => tally.worst[Tally::WORST - 1].severity() * (1.0 - 1e-12),
        _ => -1.0,
    }
}

/// A few rows, from the losses to the tally.
#[derive(Default)]
struct Strip {
    rows: Range<usize>,
    /// [rows·m].
    analytic: Vec<f64>,
    /// Not divided by the normaliser yet.
    evaluation: Evaluation,
    per_normalizer: f64,
}

/// A row of a part, [m] each.
struct RowEntries<'a> {
    analytic: &'a [f64],
    /// Not divided by the normaliser yet, as the next.
    derivative: &'a [f64],
    conditioning: &'a [f64],
    per_normalizer: f64,
}

impl Strip {
    #[inline(always)]
    fn row(&self, here: usize, columns: usize) -> RowEntries<'_> {
        let entries = here * columns..(here + 1) * columns;
        RowEntries {
            analytic: &self.analytic[entries.clone()],
            derivative: &self.evaluation.derivative[entries.clone()],
            conditioning: &self.evaluation.conditioning[entries],
            per_normalizer: self.per_normalizer,
        }
    }
}

impl RowEntries<'_> {
    /// The gradient, its numeric counterpart and the conditioning.
    fn at(&self, column: usize) -> (f64, f64, f64) {
        (
            self.analytic[column],
            self.derivative[column] * self.per_normalizer,
            self.conditioning[column] * self.per_normalizer,
        )
    }

    /// A few of them at once.
    #[inline(always)]
    fn lanes(&self, start: usize, width: usize) -> Entries {
        let end = start + width;
        Entries {
            analytic: load(&self.analytic[start..end]),
            next: next(self.analytic, start, width),
            derivative: load(&self.derivative[start..end]),
            conditioning: load(&self.conditioning[start..end]),
            per_normalizer: self.per_normalizer,
        }
    }
}

/// The entries of a row one column on from `start`; after the last comes the first.
#[inline(always)]
fn next(row: &[f64], start: usize, width: usize) -> [f64; LANES] {
    match row.get(start + 1..start + 1 + width) {
        Some(next) => load(next),
        None => next_of_last(row, start, width),
    }
}

/// Not inlined, as [`padded`].
#[cold]
#[inline(never)]
fn next_of_last(row: &[f64], start: usize, width: usize) -> [f64; LANES] {
    let mut next: [f64; LANES] = padded(&row[start + 1..]);
    next[width - 1] = row[0];
    next
}

/// Up to [`LANES`] values, and zeros.
#[inline(always)]
fn load(values: &[f64]) -> [f64; LANES] {
    match values.try_into() {
        Ok(lanes) => lanes,
        Err(_) => padded(values),
    }
}

/// As many as there is room for; not inlined, as [`padded`].
#[cold]
#[inline(never)]
fn store_some(place: &mut [u32], bins: [u32; LANES]) {
    place.copy_from_slice(&bins[..place.len()]);
}

impl Comparator<'_> {
    /// Compares a range of rows with what `analytic` gives for any of them, [rows·m], and adds them to the tally; returns the
    /// numeric gradient, if it is to be kept.
    pub(crate) fn compare(
        &self,
        tally: &mut Tally,
        rows: Range<usize>,
        chunk: &dyn RowSource,
        analytic: &(dyn Fn(Range<usize>, &mut Vec<f64>) + Sync),
        keep: bool,
    ) -> Vec<f64> {
        let columns = self.problem.columns(self.plan.wrt);
        let size = block_rows(self.problem, &self.plan);
        // A chunk may begin or end inside of a block.
        let blocks = rows.start / size..rows.end.div_ceil(size);
        let at_once = (blocks.len() / (2 * rayon::current_num_threads())).max(1);
        let compared = blocks.into_par_iter().with_min_len(at_once).fold(
            || (Tally::default(), Vec::new(), Scratch::default()),
            |(mut tally, mut compared, mut scratch), block| {
                let block = rows.start.max(block * size)..rows.end.min((block + 1) * size);
                let fill = |part: &mut Strip| {
                    analytic(part.rows.clone(), &mut part.analytic);
                    let here = part.rows.start - rows.start..part.rows.end - rows.start;
                    chunk.rows(here, &mut part.evaluation);
                };
                let start = block.start;
                let (sums, numeric) =
                    self.compare_block(&mut tally, &mut scratch, block, &fill, keep);
                compared.push((start, sums, numeric));
                (tally, compared, scratch)
            },
        );
        let compared = compared.map(|(tally, compared, _)| (tally, compared));
        let all = compared.reduce_with(|(mut tally, mut compared), (other, more)| {
            tally.merge(other);
            compared.extend(more);
            (tally, compared)
        });
        let (part, mut blocks) = all.unwrap_or_default();
        tally.merge(part);
        blocks.sort_by_key(|(start, ..)| *start);
        let (sums, numeric): (Vec<_>, Vec<_>) = blocks
            .into_iter()
            .map(|(_, sums, numeric)| (sums, numeric))
            .unzip();
        tally.columns.add(&sums, columns);
        numeric.concat()
    }

    /// Adds a block to the tally, all but the sums down its columns, which it returns; and its numeric gradient, if it is to be kept.
    fn compare_block(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        rows: Range<usize>,
        fill: &dyn Fn(&mut Strip),
        keep: bool,
    ) -> ([Vec<f64>; COLUMN_SUMS], Vec<f64>) {
        let columns = self.problem.columns(self.plan.wrt);
        let room = columns.next_multiple_of(LANES);
        scratch.columns = [(); COLUMN_SUMS].map(|()| vec![0.0; room]);
        let mut totals = Totals::default();
        let mut kept = Vec::new();
        let size = part_rows(self.problem, self.plan.wrt);
        let mut part = std::mem::take(&mut scratch.part);
        part.per_normalizer = 1.0 / self.problem.normalizer();
        let mut next = rows.start;
        while next < rows.end {
            // As long as hardly any is known, nearly every row has an entry that may belong to the worst.
            let known = tally.entries as usize / columns;
            let here = size.min(known.max(LEAST_ROWS));
            part.rows = next..rows.end.min(next + here);
            next = part.rows.end;
            fill(&mut part);
            part.evaluation.differentiate(&self.plan);
            self.compare_part(tally, scratch, &mut totals, &part);
            if self.draws {
                self.draw(tally, &part);
            }
            if keep {
                let derivative = part.evaluation.derivative.iter();
                kept.extend(derivative.map(|v| v * part.per_normalizer));
            }
        }
        scratch.part = part;
        totals.add_to(tally);
        let sum = |index: usize| scratch.columns[index][..columns].iter().sum::<f64>();
        tally.analytic_numeric.add(sum(0));
        tally.numeric_numeric.add(sum(1));
        tally.noise_numeric.add(sum(4));
        tally.numeric_abs.add(sum(5));
        let sums = if Columns::are_kept(columns) {
            std::mem::take(&mut scratch.columns)
        } else {
            Default::default()
        };
        (sums, kept)
    }

    fn compare_part(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        totals: &mut Totals,
        part: &Strip,
    ) {
        let columns = self.problem.columns(self.plan.wrt);
        let threshold = threshold(tally);
        scratch.rows.clear();
        for here in 0..part.rows.len() {
            let row = part.row(here, columns);
            let bounds = self.bounds(&part.evaluation, here, threshold);
            if are_finite(row.analytic, row.derivative) {
                scratch.rows.push(Row { here, bounds });
            } else {
                self.compare_not_finite(tally, scratch, part, here, &bounds);
            }
        }
        scratch.totals.clear();
        scratch
            .totals
            .resize(scratch.rows.len(), RowTotals::default());
        scratch.bins.resize(part.analytic.len(), 0);
        simd(
            #[inline(always)]
            || {
                let whole = columns / LANES * LANES;
                let is_given = self.tolerance.given.is_some();
                // What has caught them all once needs not do so again.
                let catches = !tally.caught.is_complete();
                for start in (0..whole).step_by(LANES) {
                    match (is_given, catches) {
                        (true, true) => {
                            self.compare_columns::<true, true, true>(scratch, totals, part, start)
                        }
                        (true, false) => {
                            self.compare_columns::<true, true, false>(scratch, totals, part, start)
                        }
                        (false, true) => {
                            self.compare_columns::<true, false, true>(scratch, totals, part, start)
                        }
                        (false, false) => {
                            self.compare_columns::<true, false, false>(scratch, totals, part, start)
                        }
                    }
                }
                if whole < columns {
                    if is_given {
                        self.compare_columns::<false, true, true>(scratch, totals, part, whole)
                    } else {
                        self.compare_columns::<false, false, true>(scratch, totals, part, whole)
                    }
                }
            },
        );
        for index in 0..scratch.rows.len() {
            let Row { here, bounds } = scratch.rows[index];
            let row = here * columns..(here + 1) * columns;
            tally.rel_err.add_bins(&scratch.bins[row]);
            let RowTotals {
                tolerance_numeric,
                counts,
            } = &scratch.totals[index];
            let tolerance: f64 = tolerance_numeric.iter().sum();
            tally.tolerance_tolerance.add(tolerance * tolerance);
            let wrong = counts.iter().map(|count| count % BAD).sum();
            let bad = counts.map(|count| count >= BAD);
            self.note_row(tally, part, here, &bounds, wrong, bad);
        }
    }

    /// A few columns of all rows of a part: as many as there are lanes, or as there are left.
    #[inline(always)]
    fn compare_columns<const IS_WHOLE: bool, const IS_GIVEN: bool, const CATCHES: bool>(
        &self,
        scratch: &mut Scratch,
        totals: &mut Totals,
        part: &Strip,
        start: usize,
    ) {
        let columns = self.problem.columns(self.plan.wrt);
        let width = if IS_WHOLE { LANES } else { columns - start };
        let noise = load(&self.noise.by_column[start..start + width]);
        // Of their own, so that what is written to the scratch cannot be part of them.
        let (mut sums, mut all) = ([[0.0; LANES]; COLUMN_SUMS], Totals::default());
        for (row, of_row) in scratch.rows.iter().zip(&mut scratch.totals) {
            let entries = part.row(row.here, columns).lanes(start, width);
            let bounds = row.bounds;
            let bins = all.add::<IS_WHOLE, IS_GIVEN, CATCHES>(
                &mut sums, of_row, &bounds, &noise, &entries, width,
            );
            let place = row.here * columns + start;
            let place = &mut scratch.bins[place..place + width];
            match <&mut [u32; LANES]>::try_from(&mut *place) {
                Ok(place) => *place = bins,
                Err(_) => store_some(place, bins),
            }
        }
        totals.merge(&all);
        for (column, sums) in scratch.columns.iter_mut().zip(&sums) {
            for (column, sum) in column[start..start + LANES].iter_mut().zip(sums) {
                *column += sum;
            }
        }
    }

    /// What is known of a row alone; `bad` lanes have an entry that may belong to the worst.
    fn note_row(
        &self,
        tally: &mut Tally,
        part: &Strip,
        here: usize,
        bounds: &Bounds,
        wrong: u64,
        bad: [bool; LANES],
    ) {
        let columns = self.problem.columns(self.plan.wrt);
        let row = part.rows.start + here;
        let entries = part.row(here, columns);
        let entry = |column| self.entry(bounds, (row, column), entries.at(column));
        tally.entries += columns as u64;
        tally.wrong += wrong;
        if wrong > 0 {
            tally.places.rows.add(row..row + 1);
            tally.places.columns.resize(columns, 0);
            let noise = &self.noise.by_column;
            for (column, wrong) in tally.places.columns.iter_mut().enumerate() {
                let (a, g, c) = entries.at(column);
                let held = bounds.hold(a, g, c, noise[column]);
                *wrong += u64::from(!a.is_finite() | (g.is_finite() & held.is_wrong));
            }
        }
        self.count_label(tally, row, wrong);
        for lane in (0..LANES).filter(|&lane| bad[lane]) {
            for column in (lane..columns).step_by(LANES) {
                let noise = self.noise.by_column[column];
                let (a, g, c) = entries.at(column);
                let held = bounds.hold(a, g, c, noise);
                // The threshold has risen with the rows before.
                if !(held.error <= threshold(tally) * (held.tolerance + held.noise)) {
                    tally.note(entry(column));
                }
            }
        }
        tally.sample(entry(Tally::sampled_column(row, columns)));
    }

    /// Adds a part to the picture.
    fn draw(&self, tally: &mut Tally, part: &Strip) {
        let columns = self.problem.columns(self.plan.wrt);
        let shape = [self.problem.rows(self.plan.wrt), columns];
        let picture = tally
            .picture
            .get_or_insert_with(|| Box::new(Picture::new(shape)));
        for here in 0..part.rows.len() {
            let (row, entries) = (part.rows.start + here, part.row(here, columns));
            let bounds = self.bounds(&part.evaluation, here, 0.0);
            for column in 0..columns {
                let entry = self.entry(&bounds, (row, column), entries.at(column));
                let values = [entry.analytic, entry.numeric];
                let is_wrong = entry.decision == Decision::Wrong;
                picture.add(
                    [row, column],
                    values,
                    entry.tolerance + entry.noise,
                    is_wrong,
                );
            }
        }
    }

    /// Counts the wrong entries of a row, and all, to the class of its target.
    pub(super) fn count_label(&self, tally: &mut Tally, row: usize, wrong: u64) {
        let label = if self.plan.wrt.is_parameter() {
            None
        } else {
            self.problem.label(row)
        };
        if let Some(label) = label {
            let classes = &mut tally.places.classes;
            classes.resize(self.problem.k(), [0; 2]);
            classes[label][0] += wrong;
            classes[label][1] += self.problem.columns(self.plan.wrt) as u64;
        }
    }

    /// A row some of whose entries are not finite: they are wrong or undecided, and in no sum but that of the errors.
    fn compare_not_finite(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        part: &Strip,
        here: usize,
        bounds: &Bounds,
    ) {
        let columns = self.problem.columns(self.plan.wrt);
        let entries = part.row(here, columns);
        let (mut wrong, mut tolerance) = (0, 0.0);
        for column in 0..columns {
            let (a, g, _) = entries.at(column);
            let place = (part.rows.start + here, column);
            let entry = self.entry(bounds, place, entries.at(column));
            let allowed = entry.tolerance + entry.noise;
            wrong += u64::from(entry.decision == Decision::Wrong);
            tally.undecided += u64::from(entry.decision == Decision::Undecided);
            tally.not_finite += u64::from(!a.is_finite());
            tally.max_rel_err = tally.max_rel_err.max(entry.rel_err);
            tally.sum_rel_err.add(entry.rel_err);
            tally.rel_err.add(entry.rel_err);
            if !a.is_finite() || !g.is_finite() {
                tally.error_error.add(f64::INFINITY);
                continue;
            }
            let next = entries.analytic[(column + 1) % columns];
            let (t, e) = (entry.tolerance * g.abs(), entry.noise * g.abs());
            tally.analytic_analytic.add(a * a);
            tally.error_error.add((a - g) * (a - g));
            tolerance += t;
            let terms = [a * g, g * g, t * t, t, e, g.abs()];
            for (sums, term) in scratch.columns.iter_mut().zip(terms) {
                sums[column] += term;
            }
            tally.least_detectable = tally.least_detectable.min(allowed / g.abs());
            tally.caught.merge(Caught {
                zeroed: g.abs() > allowed,
                flipped: (a + g).abs() > allowed,
                scaled: (1.5 * a - g).abs() > allowed,
                shuffled: (next - g).abs() > allowed,
                moved: next != a,
            });
        }
        tally.tolerance_tolerance.add(tolerance * tolerance);
        self.note_row(tally, part, here, bounds, wrong, [true; LANES]);
    }

    /// What all entries of a row of a part are held against, and above what share of it one may belong to the worst.
    fn bounds(&self, evaluation: &Evaluation, here: usize, threshold: f64) -> Bounds {
        let (magnitude, total) = (evaluation.magnitude[here], evaluation.totals[here]);
        let (noise_by_row, noise_floor) = self.noise.of_row(magnitude, total);
        let Tolerance {
            factor,
            floor,
            drift,
            given,
            ..
        } = self.tolerance;
        let (rtol, atol) = given.map_or((0.0, 0.0), |given| (given.rtol, given.atol));
        Bounds {
            rounding: factor * self.spread(evaluation.moved[here]),
            drift,
            floor,
            is_given: given.is_some(),
            rtol,
            atol,
            noise_by_row,
            noise_drift: self.noise.drift,
            noise_floor,
            threshold,
        }
    }

    /// Logits that are off by δ move the softmax by up to exp(2δ) - 1, which is exp(2δ) times less than twice δ. Near 1
    /// this counts in half precision, where logits in the hundreds leave nothing of the softmax.
    fn spread(&self, moved: f64) -> f64 {
        (2.0 * self.unit_roundoff * moved).min(600.0).exp()
    }

    /// One entry as the report keeps it.
    fn entry(
        &self,
        bounds: &Bounds,
        (row, column): (usize, usize),
        (analytic, numeric, conditioning): (f64, f64, f64),
    ) -> Entry {
        let held = bounds.hold(
            analytic,
            numeric,
            conditioning,
            self.noise.by_column[column],
        );
        // A difference that overflowed says nothing.
        let says = numeric.is_finite();
        let decision = if !analytic.is_finite() || (says && held.is_wrong) {
            Decision::Wrong
        } else if says && held.is_right {
            Decision::Right
        } else {
            Decision::Undecided
        };
        Entry {
            row,
            column,
            analytic,
            numeric,
            rel_err: rel_err(analytic, numeric),
            noise: if says { held.noise } else { f64::INFINITY },
            tolerance: held.tolerance,
            decision,
        }
    }
}

/// The numeric gradient of a range of rows, [rows·m].
pub(crate) fn numeric(problem: &Problem, plan: &Plan, mut evaluation: Evaluation) -> Vec<f64> {
    evaluation.differentiate(plan);
    let normalizer = problem.normalizer();
    evaluation
        .derivative
        .iter_mut()
        .for_each(|v| *v /= normalizer);
    evaluation.derivative
}

/// |analytic - numeric| / max(|analytic|, |numeric|), as cs231n has it; 0 where both are 0, infinite where either is not
/// finite.
pub(crate) fn rel_err(analytic: f64, numeric: f64) -> f64 {
    match (analytic - numeric).abs() {
        0.0 => 0.0,
        error if error.is_finite() => error / analytic.abs().max(numeric.abs()),
        _ => f64::INFINITY,
    }
}
