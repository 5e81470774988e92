//! The comparison on the host: the verdict on every entry of the gradient under test, and on the
//! same entry of corrupted copies.
//!
//! Rows are taken a strip at a time, from the losses to the tally, so that intermediate results
//! stay in the cache. Within a strip, entries are compared in lanes.

use std::{borrow::Cow, ops::Range};

use rayon::prelude::*;

use crate::{
    budget,
    cpu::simd,
    engine::{self, RowSource},
    plan::Plan,
    report::{ColumnSums, Columns, Decision, Picture, Tally},
    rounding::{Given, Noise, RowBounds, Tolerance, nonlinearity},
};

mod lanes;
mod row;
mod strip;

pub(crate) use row::rel_err;

use lanes::{LANES, Scratch, Totals};
use strip::Strip;

/// All that a comparison knows of the gradient: not which model it belongs to.
pub(crate) struct Frame<'a> {
    /// Rows and columns of the gradient.
    pub(crate) shape: [usize; 2],
    /// Z, by which the evaluation is divided.
    pub(crate) normalizer: f64,
    /// Rows whose column sums are added to the total as one term.
    pub(crate) block_rows: usize,
    /// Rows that are evaluated and compared together.
    pub(crate) strip_rows: usize,
    /// The classes of the rows' targets, if the rows are samples with classes.
    pub(crate) labels: Option<Labels<'a>>,
    /// The way from losses to the derivative, unless an evaluation holds the derivative itself.
    pub(crate) plan: Option<Plan>,
    /// The unit roundoff of the gradient under test.
    pub(crate) unit_roundoff: f64,
    pub(crate) tolerance: Tolerance,
    pub(crate) noise: Cow<'a, Noise>,
    /// True if the tally collects a picture of the errors.
    pub(crate) picture: bool,
    /// True if [`Frame::compare`] returns the numeric gradient.
    pub(crate) keeps_numeric: bool,
}

/// The classes of the rows' targets.
pub(crate) struct Labels<'a> {
    /// The class of a row, if it has one.
    pub(crate) of: Box<dyn Fn(usize) -> Option<usize> + Sync + 'a>,
    /// The number of classes.
    pub(crate) classes: usize,
}

/// The results of a block that must be merged in the order of the blocks.
struct ComparedBlock {
    /// The first row of the block.
    start: usize,
    /// Sums down the columns, or empty if they are not kept.
    sums: ColumnSums<Vec<f64>>,
    /// The numeric gradient, or empty if it is not kept.
    numeric: Vec<f64>,
}

/// The state of one thread while it compares blocks.
#[derive(Default)]
struct Worker {
    tally: Tally,
    blocks: Vec<ComparedBlock>,
    strip: Strip,
    scratch: Scratch,
}

impl Frame<'_> {
    /// Compares a range of rows and adds them to the tally.
    ///
    /// `source` holds the rows' evaluation. `analytic` reads any of the rows of the gradient under
    /// test into a vector, [rows·m]. Returns the numeric gradient, [rows·m], or an empty vector if
    /// it is not kept.
    pub(crate) fn compare(
        &self,
        tally: &mut Tally,
        rows: Range<usize>,
        source: &dyn RowSource,
        analytic: &(dyn Fn(Range<usize>, &mut Vec<f64>) + Sync),
    ) -> Vec<f64> {
        let size = self.block_rows;
        // The range may begin or end within a block.
        let blocks = rows.start / size..rows.end.div_ceil(size);
        let at_once = (blocks.len() / (2 * rayon::current_num_threads())).max(1);
        let fill = |strip: &mut Strip| {
            analytic(strip.rows.clone(), &mut strip.analytic);
            let here = strip.rows.start - rows.start..strip.rows.end - rows.start;
            source.rows(here, &mut strip.evaluation);
        };
        let compared = blocks.into_par_iter().with_min_len(at_once).fold(
            Worker::default,
            |mut worker, block| {
                let block = rows.start.max(block * size)..rows.end.min((block + 1) * size);
                self.compare_block(&mut worker, block, &fill);
                worker
            },
        );
        let compared = compared.map(|worker| (worker.tally, worker.blocks));
        let all = compared.reduce_with(|(mut tally, mut blocks), (other, more)| {
            tally.merge(other);
            blocks.extend(more);
            (tally, blocks)
        });
        let (part, mut blocks) = all.unwrap_or_default();
        tally.merge(part);
        blocks.sort_by_key(|block| block.start);
        let blocks = blocks.into_iter().map(|block| (block.sums, block.numeric));
        let (sums, numeric): (Vec<_>, Vec<_>) = blocks.unzip();
        tally.columns.add(&sums, self.columns());
        numeric.concat()
    }

    /// Returns the number of columns of the gradient.
    pub(super) fn columns(&self) -> usize {
        self.shape[1]
    }

    /// Compares a block, strip by strip. `fill` writes the gradient and the evaluation of a strip's
    /// rows.
    fn compare_block(&self, worker: &mut Worker, rows: Range<usize>, fill: &dyn Fn(&mut Strip)) {
        let Worker {
            tally,
            blocks,
            strip,
            scratch,
        } = worker;
        let columns = self.columns();
        let start = rows.start;
        scratch.columns = ColumnSums::zeros(columns.next_multiple_of(LANES));
        strip.per_normalizer = 1.0 / self.normalizer;
        let size = self.strip_rows;
        let mut totals = Totals::default();
        let mut numeric = Vec::new();
        let mut next = start;
        while next < rows.end {
            // Strips start small: while few entries have been compared, nearly every entry is a
            // candidate for the worst. Their sizes decide the last bits of the sums, so they must
            // not depend on what the thread has compared before.
            let here = size.min((next - start).max(budget::FIRST_STRIP_ROWS));
            strip.rows = next..rows.end.min(next + here);
            next = strip.rows.end;
            fill(strip);
            if let Some(plan) = &self.plan {
                strip.evaluation.differentiate(plan);
            }
            self.compare_strip(tally, scratch, &mut totals, strip);
            if self.picture {
                self.draw(tally, strip);
            }
            if self.keeps_numeric {
                let derivative = strip.evaluation.derivative().iter();
                numeric.extend(derivative.map(|v| v * strip.per_normalizer));
            }
        }
        totals.add_to(tally);
        let sums = &scratch.columns;
        let sum = |values: &[f64]| values[..columns].iter().sum::<f64>();
        tally.sums.analytic_numeric.add(sum(&sums.analytic_numeric));
        tally.sums.numeric_numeric.add(sum(&sums.numeric_numeric));
        tally.sums.noise_numeric.add(sum(&sums.noise_numeric));
        tally.sums.numeric_abs.add(sum(&sums.numeric_abs));
        let sums = if Columns::are_kept(columns) {
            std::mem::take(&mut scratch.columns)
        } else {
            ColumnSums::default()
        };
        blocks.push(ComparedBlock {
            start,
            sums,
            numeric,
        });
    }

    /// Compares a strip. Rows with an entry that is not finite are compared entry by entry, all
    /// others in lanes.
    fn compare_strip(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        totals: &mut Totals,
        strip: &Strip,
    ) {
        let columns = self.columns();
        let limits = row::limits(tally, self.unit_roundoff);
        scratch.rows.clear();
        for here in 0..strip.rows.len() {
            let row = strip.row(here, columns);
            let bounds = self.row_bounds(&strip.evaluation.bounds, here);
            if row.is_finite() {
                scratch.rows.push(lanes::Row { here, bounds });
            } else {
                self.compare_not_finite(tally, scratch, strip, here, &bounds);
            }
        }
        scratch.totals.clear();
        let zeros = lanes::RowTotals::default();
        scratch.totals.resize(scratch.rows.len(), zeros);
        scratch.bins.resize(strip.analytic.len(), 0);
        self.compare_in_lanes(
            scratch,
            totals,
            strip,
            limits,
            !tally.sensitivity.caught.is_complete(),
        );
        for (row, totals) in scratch.rows.iter().zip(&scratch.totals) {
            let entries = row.here * columns..(row.here + 1) * columns;
            tally.rel_err.histogram.add_bins(&scratch.bins[entries]);
            let tolerance: f64 = totals.tolerance_numeric.iter().sum();
            tally.sums.tolerance_tolerance.add(tolerance * tolerance);
            let (wrong, candidates) = totals.counts();
            self.note_row(tally, strip, row.here, &row.bounds, wrong, candidates);
        }
    }

    /// Compares the finite rows of a strip in lanes, with the widest vectors of the processor.
    /// `catches` is true unless all corrupted copies have been caught already.
    fn compare_in_lanes(
        &self,
        scratch: &mut Scratch,
        totals: &mut Totals,
        strip: &Strip,
        limits: lanes::Limits,
        catches: bool,
    ) {
        let noise = &self.noise.by_column;
        simd(
            #[inline(always)]
            || match (self.tolerance.given.is_some(), catches) {
                (true, true) => lanes::compare::<true, true>(scratch, totals, strip, noise, limits),
                (true, false) => {
                    lanes::compare::<true, false>(scratch, totals, strip, noise, limits)
                }
                (false, true) => {
                    lanes::compare::<false, true>(scratch, totals, strip, noise, limits)
                }
                (false, false) => {
                    lanes::compare::<false, false>(scratch, totals, strip, noise, limits)
                }
            },
        );
    }

    /// Adds a strip to the picture.
    fn draw(&self, tally: &mut Tally, strip: &Strip) {
        let columns = self.columns();
        let picture = tally
            .picture
            .get_or_insert_with(|| Box::new(Picture::new(self.shape)));
        for here in 0..strip.rows.len() {
            let (row, entries) = (strip.rows.start + here, strip.row(here, columns));
            let bounds = self.row_bounds(&strip.evaluation.bounds, here);
            for column in 0..columns {
                let entry = self.entry(&bounds, (row, column), entries.at(column));
                let values = [entry.analytic, entry.numeric];
                let allowed = entry.tolerance + entry.noise;
                let is_wrong = entry.decision == Some(Decision::Wrong);
                picture.add([row, column], values, allowed, is_wrong);
            }
        }
    }

    /// Returns the bounds on the entries of row `here` of an evaluation.
    fn row_bounds(&self, bounds: &engine::Bounds, here: usize) -> RowBounds {
        let (noise_by_row, noise_floor) = self
            .noise
            .of_row(bounds.magnitude[here], bounds.totals[here]);
        let Tolerance {
            rounding,
            floor,
            lost,
            drift,
            given,
            ..
        } = self.tolerance;
        let Given { rtol, atol } = given.unwrap_or_default();
        let u = self.unit_roundoff;
        let bounds_of_all = RowBounds {
            rounding,
            drift,
            floor,
            is_given: given.is_some(),
            rtol,
            atol,
            noise_by_row,
            noise_drift: self.noise.drift,
            noise_floor,
            unit_roundoff: u,
        };
        let nonlinearity = nonlinearity(u, bounds.logit_error[here]);
        bounds_of_all.in_row(nonlinearity, lost * (1.0 + bounds.magnitude[here]))
    }
}
