//! Entry by entry: the numeric gradient from an evaluation, its error against the gradient under test, the verdict; and what
//! the same comparison would have made of a gradient that is certainly wrong.
//!
//! Rows are taken a few at a time, from the losses to the tally, so that nothing leaves the cache on the way; within a row
//! entries are taken in lanes.

use std::ops::Range;

use rayon::prelude::*;

use super::noise::Noise;
use crate::{
    cpu::simd,
    engine::Chunk,
    plan::{Evaluation, Plan},
    problem::Problem,
    report::{COLUMN_SUMS, Caught, Decision, Entry, Tally, Tolerance},
    scheme::Method,
};

/// Entries of a block, whose columns are summed as one: enough to make the exact sums cheap, few enough for several threads.
const BLOCK_ENTRIES: usize = 1 << 17;
const MOST_BLOCK_ROWS: usize = 256;
/// Entries that are evaluated and compared at a time: each of their half a dozen vectors is 64 KiB.
const PART_ENTRIES: usize = 1 << 13;
const MOST_PART_ROWS: usize = 64;
/// Fewer rows than that leave the tiles of the matrix products unused.
const LEAST_ROWS: usize = 4;
/// Entries that are compared side by side: a vector of AVX-512.
const LANES: usize = 8;

/// Rows of a block: blocks begin at multiples of it.
pub(crate) fn block_rows(columns: usize) -> usize {
    (BLOCK_ENTRIES / columns).clamp(LEAST_ROWS, MOST_BLOCK_ROWS)
}

/// What all entries of one gradient are compared by.
pub(crate) struct Comparator<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) plan: Plan,
    pub(crate) tolerance: Tolerance,
    /// Of the gradient under test.
    pub(crate) unit_roundoff: f64,
    pub(crate) noise: Noise,
}

/// What all entries of a row share.
#[derive(Clone, Copy)]
struct Row {
    index: usize,
    /// The sample's class, where rows are samples and have one.
    label: Option<usize>,
    /// The largest magnitude behind a logit.
    magnitude: f64,
    /// R.
    total: f64,
    /// What first-order bounds on the softmax are to be multiplied by.
    spread: f64,
}

/// What a thread needs for a block, [m] each and room for whole lanes.
struct Scratch {
    /// Down the rows of the block.
    columns: [Vec<f64>; COLUMN_SUMS],
    /// Of the row at hand: how far an entry may be off in all.
    allowed: Vec<f64>,
    /// Of the row at hand.
    rel_err: Vec<f64>,
    /// Of the row at hand: its entries, and the first once more.
    analytic: Vec<f64>,
}

/// What the entries of a row are held against.
#[derive(Clone, Copy)]
struct Bounds {
    /// Times the conditioning, before anything else.
    per_normalizer: f64,
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
        let (a_abs, g_abs) = (analytic.abs(), numeric.abs());
        let largest = if a_abs > g_abs { a_abs } else { g_abs };
        let error = (analytic - numeric).abs();
        let c = conditioning * self.per_normalizer;
        let rounding = self.rounding * c + self.drift * g_abs + self.floor;
        let given = self.rtol * largest + self.atol;
        let tolerance = if self.is_given { given } else { rounding };
        let noise = c * (noise + self.noise_by_row) + self.noise_floor + self.noise_drift * g_abs;
        // An absolute tolerance is no evidence for an entry that is smaller; what rounding explains is.
        let certified = !self.is_given | (largest >= self.atol) | (error <= rounding + noise);
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
    numeric: [f64; LANES],
    conditioning: [f64; LANES],
    /// Of the column: times the conditioning.
    noise: [f64; LANES],
}

/// What comes of them.
struct Compared {
    allowed: [f64; LANES],
    rel_err: [f64; LANES],
    columns: [[f64; LANES]; COLUMN_SUMS],
}

/// The sums and counts of a row, in lanes; the order is that of [`Sums`].
#[derive(Default)]
struct Lanes {
    sums: [[f64; LANES]; 8],
    max_rel_err: [f64; LANES],
    /// The least allowed/|numeric| as a fraction, and its denominator: to compare costs less than to divide.
    least: [f64; LANES],
    of: [f64; LANES],
    counts: [[u64; LANES]; 8],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, bounds: &Bounds, entries: &Entries, width: usize) -> Compared {
        let mut compared = Compared {
            allowed: [0.0; LANES],
            rel_err: [0.0; LANES],
            columns: [[0.0; LANES]; COLUMN_SUMS],
        };
        for lane in 0..LANES {
            let (a, g) = (entries.analytic[lane], entries.numeric[lane]);
            let next = entries.next[lane];
            let (conditioning, noise) = (entries.conditioning[lane], entries.noise[lane]);
            let held = bounds.hold(a, g, conditioning, noise);
            let (error, largest, g_abs) = (held.error, held.largest, g.abs());
            let allowed = held.tolerance + held.noise;
            let rel_err = error / if largest > 0.0 { largest } else { 1.0 };
            let (t, e) = (held.tolerance * g_abs, held.noise * g_abs);
            compared.allowed[lane] = allowed;
            compared.rel_err[lane] = rel_err;
            let terms = [a * g, g * g, t * t, t, e, g_abs];
            for (column, term) in compared.columns.iter_mut().zip(terms) {
                column[lane] = term;
            }
            let terms = [rel_err, a * a, a * g, g * g, g_abs, error * error, t, e];
            for (sum, term) in self.sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
            let most = self.max_rel_err[lane];
            self.max_rel_err[lane] = if rel_err > most { rel_err } else { most };
            // 0/0 where nothing was met yet, which everything is less than.
            let (least, of) = (self.least[lane], self.of[lane]);
            let is_less = (allowed * of < least * g_abs) | ((of == 0.0) & (g_abs > 0.0));
            self.least[lane] = if is_less { allowed } else { least };
            self.of[lane] = if is_less { g_abs } else { of };
            // Corrupted copies of the gradient go through the same comparison.
            let counted = [
                held.is_wrong,
                !held.is_wrong & !held.is_right,
                error > bounds.threshold * allowed,
                g_abs > allowed,
                (a + g).abs() > allowed,
                (1.5 * a - g).abs() > allowed,
                (next - g).abs() > allowed,
                next == a,
            ];
            for (count, is_counted) in self.counts.iter_mut().zip(counted) {
                count[lane] += u64::from(is_counted & (lane < width));
            }
        }
        compared
    }

    #[inline(always)]
    fn sums(&self) -> Sums {
        let sum = |index: usize| self.sums[index].iter().sum::<f64>();
        let count = |index: usize| self.counts[index].iter().sum::<u64>();
        let known = self.least.iter().zip(&self.of).filter(|(_, of)| **of > 0.0);
        let ratios = known.map(|(least, of)| least / of);
        Sums {
            rel_err: sum(0),
            analytic_analytic: sum(1),
            analytic_numeric: sum(2),
            numeric_numeric: sum(3),
            numeric_abs: sum(4),
            error_error: sum(5),
            tolerance_numeric: sum(6),
            noise_numeric: sum(7),
            max_rel_err: self.max_rel_err.iter().copied().fold(0.0, f64::max),
            least_detectable: ratios.fold(f64::INFINITY, f64::min),
            wrong: count(0),
            undecided: count(1),
            bad: count(2),
            caught: Caught {
                zeroed: count(3),
                flipped: count(4),
                scaled: count(5),
                shuffled: count(6),
                unshuffled: count(7),
            },
        }
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

/// Up to [`LANES`] values, and zeros.
#[inline(always)]
fn load(values: &[f64]) -> [f64; LANES] {
    match values.try_into() {
        Ok(lanes) => lanes,
        Err(_) => {
            let mut lanes = [0.0; LANES];
            lanes[..values.len()].copy_from_slice(values);
            lanes
        }
    }
}

/// What is summed and counted over the entries of a row.
#[derive(Default)]
struct Sums {
    rel_err: f64,
    analytic_analytic: f64,
    analytic_numeric: f64,
    numeric_numeric: f64,
    numeric_abs: f64,
    error_error: f64,
    tolerance_numeric: f64,
    noise_numeric: f64,
    max_rel_err: f64,
    least_detectable: f64,
    wrong: u64,
    undecided: u64,
    caught: Caught,
    /// Entries that may belong to the worst.
    bad: u64,
}

impl Comparator<'_> {
    /// Compares a range of rows with what `analytic` gives for any of them, [rows·m]; returns the numeric gradient too, if it
    /// is to be kept.
    pub(crate) fn compare(
        &self,
        rows: Range<usize>,
        chunk: &Chunk<'_>,
        analytic: &(dyn Fn(Range<usize>) -> Vec<f64> + Sync),
        keep: bool,
    ) -> (Tally, Vec<f64>) {
        let columns = self.problem.columns(self.plan.wrt);
        let size = block_rows(columns);
        // A chunk may begin or end inside of a block.
        let blocks = rows.start / size..rows.end.div_ceil(size);
        let at_once = (blocks.len() / (2 * rayon::current_num_threads())).max(1);
        let compared = blocks.into_par_iter().with_min_len(at_once).fold(
            || (Tally::default(), Vec::new()),
            |(mut tally, mut kept), block| {
                let block = rows.start.max(block * size)..rows.end.min((block + 1) * size);
                let evaluate = |part| chunk.rows(part, rows.start);
                let numeric =
                    self.compare_block(&mut tally, block.clone(), &evaluate, analytic, keep);
                if keep {
                    kept.push((block.start, numeric));
                }
                (tally, kept)
            },
        );
        let (tally, mut kept) = compared.reduce(
            || (Tally::default(), Vec::new()),
            |(mut tally, mut kept), (other, more)| {
                tally.merge(other);
                kept.extend(more);
                (tally, kept)
            },
        );
        kept.sort_by_key(|(start, _)| *start);
        let numeric = kept.into_iter().flat_map(|(_, numeric)| numeric).collect();
        (tally, numeric)
    }

    fn compare_block(
        &self,
        tally: &mut Tally,
        rows: Range<usize>,
        evaluate: &dyn Fn(Range<usize>) -> Evaluation,
        analytic: &(dyn Fn(Range<usize>) -> Vec<f64> + Sync),
        keep: bool,
    ) -> Vec<f64> {
        let columns = self.problem.columns(self.plan.wrt);
        let room = columns.next_multiple_of(LANES);
        let mut scratch = Scratch {
            columns: [(); COLUMN_SUMS].map(|()| vec![0.0; room]),
            allowed: vec![0.0; room],
            rel_err: vec![0.0; room],
            analytic: vec![0.0; columns + 1],
        };
        let mut kept = Vec::new();
        let size = (PART_ENTRIES / columns).clamp(LEAST_ROWS, MOST_PART_ROWS);
        for start in rows.clone().step_by(size) {
            let part = start..rows.end.min(start + size);
            let evaluation = evaluate(part.clone());
            let given = analytic(part.clone());
            let numeric = numeric(self.problem, &self.plan, &evaluation);
            for (here, row) in part.enumerate() {
                let entries = here * columns..(here + 1) * columns;
                let shared = Row {
                    index: row,
                    label: match self.plan.wrt.is_parameter() {
                        true => None,
                        false => self.problem.label(row),
                    },
                    magnitude: evaluation.magnitude[here],
                    total: evaluation.totals[here],
                    spread: self.spread(evaluation.moved[here]),
                };
                let conditioning = &evaluation.conditioning[entries.clone()];
                let (given, numeric) = (&given[entries.clone()], &numeric[entries]);
                self.compare_row(tally, &mut scratch, shared, conditioning, given, numeric);
            }
            if keep {
                kept.extend(numeric);
            }
        }
        tally.columns.add(&scratch.columns, columns);
        kept
    }

    /// A row's sums are taken in lanes and added to the tally's exact sums as one term: the row is the unit that no
    /// cut into chunks divides.
    fn compare_row(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        row: Row,
        conditioning: &[f64],
        analytic: &[f64],
        numeric: &[f64],
    ) {
        let columns = analytic.len();
        // Above it an entry belongs to the worst; of equals the first was met first.
        let threshold = match tally.worst.len() {
            Tally::WORST => tally.worst[Tally::WORST - 1].severity() * (1.0 - 1e-12),
            _ => -1.0,
        };
        let bounds = self.bounds(row, threshold);
        let sums = if are_finite(analytic, numeric) {
            scratch.analytic[..columns].copy_from_slice(analytic);
            scratch.analytic[columns] = analytic[0];
            simd(
                #[inline(always)]
                || self.sum(scratch, &bounds, conditioning, numeric),
            )
        } else {
            tally.not_finite += analytic.iter().filter(|a| !a.is_finite()).count() as u64;
            self.sum_not_finite(scratch, row.index, &bounds, conditioning, analytic, numeric)
        };
        scratch.rel_err[..columns]
            .iter()
            .for_each(|&error| tally.rel_err.add(error));
        tally.entries += columns as u64;
        tally.wrong += sums.wrong;
        tally.undecided += sums.undecided;
        tally.caught.merge(sums.caught);
        tally.max_rel_err = tally.max_rel_err.max(sums.max_rel_err);
        tally.least_detectable = tally.least_detectable.min(sums.least_detectable);
        tally.sum_rel_err.add(sums.rel_err);
        tally.analytic_analytic.add(sums.analytic_analytic);
        tally.analytic_numeric.add(sums.analytic_numeric);
        tally.numeric_numeric.add(sums.numeric_numeric);
        tally.numeric_abs.add(sums.numeric_abs);
        tally.error_error.add(sums.error_error);
        let tolerance = sums.tolerance_numeric;
        tally.tolerance_tolerance.add(tolerance * tolerance);
        tally.noise_numeric.add(sums.noise_numeric);
        if sums.wrong > 0 {
            tally.places.rows.add(row.index..row.index + 1);
            tally.places.columns.resize(columns, 0);
            let entries = analytic.iter().zip(numeric).zip(&scratch.allowed);
            for (wrong, ((a, g), allowed)) in tally.places.columns.iter_mut().zip(entries) {
                *wrong += u64::from(!((a - g).abs() <= *allowed));
            }
        }
        if let Some(label) = row.label {
            let classes = &mut tally.places.classes;
            classes.resize(self.problem.k(), [0; 2]);
            classes[label][0] += sums.wrong;
            classes[label][1] += columns as u64;
        }
        let entry = |column: usize| {
            let (a, g) = (analytic[column], numeric[column]);
            self.entry(&bounds, (row.index, column), a, g, conditioning[column])
        };
        if sums.bad > 0 {
            for column in 0..columns {
                let error = (analytic[column] - numeric[column]).abs();
                if !(error <= threshold * scratch.allowed[column]) {
                    tally.note(entry(column));
                }
            }
        }
        tally.sample(entry(Tally::sampled_column(row.index, columns)));
    }

    /// The sums over a row whose entries are all finite, in lanes.
    #[inline(always)]
    fn sum(
        &self,
        scratch: &mut Scratch,
        bounds: &Bounds,
        conditioning: &[f64],
        numeric: &[f64],
    ) -> Sums {
        // Copied, so that what is written to the scratch cannot be part of it.
        let bounds = *bounds;
        let mut lanes = Lanes::default();
        let columns = numeric.len();
        for start in (0..columns).step_by(LANES) {
            let end = columns.min(start + LANES);
            let width = end - start;
            let entries = Entries {
                analytic: load(&scratch.analytic[start..end]),
                next: load(&scratch.analytic[start + 1..end + 1]),
                numeric: load(&numeric[start..end]),
                conditioning: load(&conditioning[start..end]),
                noise: load(&self.noise.by_column[start..end]),
            };
            let compared = lanes.add(&bounds, &entries, width);
            let lanes = start..start + LANES;
            scratch.allowed[lanes.clone()].copy_from_slice(&compared.allowed);
            scratch.rel_err[lanes.clone()].copy_from_slice(&compared.rel_err);
            for (sums, terms) in scratch.columns.iter_mut().zip(&compared.columns) {
                for (sum, term) in sums[lanes.clone()].iter_mut().zip(terms) {
                    *sum += term;
                }
            }
        }
        lanes.sums()
    }

    /// The sums over a row some of whose entries are not finite: they are wrong or undecided, and in no sum but that of the errors.
    fn sum_not_finite(
        &self,
        scratch: &mut Scratch,
        row: usize,
        bounds: &Bounds,
        conditioning: &[f64],
        analytic: &[f64],
        numeric: &[f64],
    ) -> Sums {
        let mut sums = Sums {
            least_detectable: f64::INFINITY,
            bad: 1,
            ..Sums::default()
        };
        for (column, (&a, &g)) in analytic.iter().zip(numeric).enumerate() {
            let entry = self.entry(bounds, (row, column), a, g, conditioning[column]);
            let allowed = entry.tolerance + entry.noise;
            scratch.allowed[column] = allowed;
            scratch.rel_err[column] = entry.rel_err;
            sums.wrong += u64::from(entry.decision == Decision::Wrong);
            sums.undecided += u64::from(entry.decision == Decision::Undecided);
            sums.max_rel_err = sums.max_rel_err.max(entry.rel_err);
            sums.rel_err += entry.rel_err;
            if !a.is_finite() || !g.is_finite() {
                sums.error_error = f64::INFINITY;
                continue;
            }
            let next = analytic[(column + 1) % analytic.len()];
            let (t, e) = (entry.tolerance * g.abs(), entry.noise * g.abs());
            sums.analytic_analytic += a * a;
            sums.analytic_numeric += a * g;
            sums.numeric_numeric += g * g;
            sums.numeric_abs += g.abs();
            sums.error_error += (a - g) * (a - g);
            sums.tolerance_numeric += t;
            sums.noise_numeric += e;
            let terms = [a * g, g * g, t * t, t, e, g.abs()];
            for (sums, term) in scratch.columns.iter_mut().zip(terms) {
                sums[column] += term;
            }
            sums.least_detectable = sums.least_detectable.min(allowed / g.abs());
            sums.caught.zeroed += u64::from(g.abs() > allowed);
            sums.caught.flipped += u64::from((a + g).abs() > allowed);
            sums.caught.scaled += u64::from((1.5 * a - g).abs() > allowed);
            sums.caught.shuffled += u64::from((next - g).abs() > allowed);
            sums.caught.unshuffled += u64::from(next == a);
        }
        sums
    }

    /// What all entries of a row are held against, and above what share of it one may belong to the worst.
    fn bounds(&self, row: Row, threshold: f64) -> Bounds {
        let (noise_by_row, noise_floor) = self.noise.of_row(row.magnitude, row.total);
        let Tolerance {
            factor,
            floor,
            drift,
            given,
            ..
        } = self.tolerance;
        let (rtol, atol) = given.map_or((0.0, 0.0), |given| (given.rtol, given.atol));
        Bounds {
            per_normalizer: 1.0 / self.problem.normalizer(),
            rounding: factor * row.spread,
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
        analytic: f64,
        numeric: f64,
        conditioning: f64,
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
pub(crate) fn numeric(problem: &Problem, plan: &Plan, evaluation: &Evaluation) -> Vec<f64> {
    let normalizer = problem.normalizer();
    match plan.method {
        Method::Difference => {
            let mut slopes = vec![0.0; evaluation.conditioning.len()];
            simd(
                #[inline(always)]
                || {
                    plan.scheme
                        .combine(&evaluation.losses, normalizer, &mut slopes);
                },
            );
            slopes
        }
        Method::ForwardPass => {
            let derivative = |entry: usize| {
                let losses = evaluation.losses.iter().map(|losses| losses[entry]);
                let points = plan.steps().map(|step| {
                    // The sum as the engine rounded it.
                    let step = plan.precision.round(step);
                    plan.precision.round(evaluation.base[entry] + step)
                });
                plan.scheme.derivative(losses, points) / normalizer
            };
            (0..evaluation.conditioning.len()).map(derivative).collect()
        }
    }
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
