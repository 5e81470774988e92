//! A gradient that is compared on the device that computes it: sums come back, not entries. AcceptedRows with a suspect are read back and compared
//! on the host, in f64, as are a sample and those with the worst entries: verdict and findings are those that the host alone would have
//! come to, and so are the entries of a wrong gradient that are named. Of a right one the worst may be others of about the same size.

use std::ops::Range;

use super::{
    AHEAD, Listener, chunks,
    compare::{Comparator, block_rows},
};
use crate::{
    engine::ComparingEngine,
    error::{Error, Result},
    plan::{Allowance, Block, DeviceComparison},
    report::{Caught, Tally},
    tensor::Tensor,
};

/// Adds the rows of `gradient` to the tally, in order; returns how many. That is fewer than all where the listener interrupts, or
/// so many rows have suspects that the host may as well go on alone.
pub(super) fn tally_rows(
    comparator: &Comparator<'_>,
    gradient: &Tensor,
    engine: &mut dyn ComparingEngine,
    device: &str,
    tally: &mut Tally,
    listener: &mut dyn Listener,
) -> Result<usize> {
    let n = comparator.problem.n();
    let m = comparator.problem.columns(comparator.plan.wrt);
    let block = block_rows(comparator.problem, &comparator.plan);
    let all: Vec<Range<usize>> = chunks(n, engine.rows_per_call(), block).collect();
    let mut upcoming = all.iter();
    for rows in upcoming.by_ref().take(AHEAD) {
        engine.submit_comparison(rows.clone(), gradient);
    }
    let mut accepted: Vec<AcceptedRows> = Vec::new();
    let (mut done, mut accepted_chunks, mut suspected_chunks) = (0, 0, 0);
    for rows in &all {
        if listener.is_interrupted() || suspected_chunks > accepted_chunks {
            break;
        }
        if let Some(next) = upcoming.next() {
            engine.submit_comparison(next.clone(), gradient);
        }
        let comparison = engine.collect_comparison()?;
        let suspects = comparison.suspects;
        tracing::debug!(
            "rows {} to {}, compared on the device: {suspects} entries to look at again",
            rows.start,
            rows.end - 1
        );
        if suspects == 0 && comparison.blocks.iter().all(keeps_its_squares) {
            accepted_chunks += 1;
            comparator.add(tally, &comparison);
            accepted.extend(comparison.blocks.into_iter().map(|block| AcceptedRows {
                rows: block.rows,
                severity: block.severity,
            }));
        } else {
            suspected_chunks += 1;
            comparator.read_back(tally, rows.clone(), gradient, engine)?;
        }
        done = rows.end;
        listener.progress((done * m) as u64, (n * m) as u64);
    }
    comparator.look_again(tally, accepted, gradient, engine, device)?;
    Ok(done)
}

/// AcceptedRows whose sums were taken from the device.
struct AcceptedRows {
    rows: Range<usize>,
    /// The largest of an entry.
    severity: f64,
}

/// Whether no sum of squares was lost to underflow that belongs to values that were not.
fn keeps_its_squares(block: &Block) -> bool {
    let lost = |sum: usize, of: usize| {
        let pairs = block.columns[sum].iter().zip(&block.columns[of]);
        pairs.filter(|(sum, of)| **of > 0.0 && **sum == 0.0).count()
    };
    lost(Block::NUMERIC_NUMERIC, Block::NUMERIC_ABS)
        + lost(Block::TOLERANCE_TOLERANCE, Block::TOLERANCE_NUMERIC)
        == 0
}

impl Comparator<'_> {
    /// What a device needs to compare by itself.
    pub(super) fn allowance(&self) -> Allowance {
        let weights = self.plan.quotients().map(|(_, weight)| weight.abs());
        // A rounding for each step that is added, two for the normaliser, and as much again to be sure of it.
        let roundings = 2.0 * (self.plan.steps().count() as f64 * weights.sum::<f64>() + 2.0);
        let (noise_by_magnitude, noise_floor) = self.noise.of_row(1.0, 0.0);
        Allowance {
            normalizer: self.problem.normalizer(),
            slack: roundings * self.plan.precision.unit_roundoff(),
            unit_roundoff: self.unit_roundoff,
            rounding: self.tolerance.factor,
            drift: self.tolerance.drift,
            floor: self.tolerance.floor,
            given: self.tolerance.given.map(|given| [given.rtol, given.atol]),
            noise: self.noise.by_column.clone(),
            noise_by_magnitude,
            noise_drift: self.noise.drift,
            noise_floor,
        }
    }

    /// Adds what a device found, none of it suspect.
    fn add(&self, tally: &mut Tally, comparison: &DeviceComparison) {
        let columns = self.problem.columns(self.plan.wrt);
        for block in &comparison.blocks {
            tally.entries += (block.rows.len() * columns) as u64;
            tally.undecided += block.undecided;
            tally.max_rel_err = tally.max_rel_err.max(block.max_rel_err);
            tally.sum_rel_err.add(block.sum_rel_err);
            tally.least_detectable = tally.least_detectable.min(block.least_detectable);
            let [zeroed, flipped, scaled, shuffled, moved] = block.caught;
            tally.caught.merge(Caught {
                zeroed,
                flipped,
                scaled,
                shuffled,
                moved,
            });
            let sum = |of: usize| block.columns[of].iter().sum::<f64>();
            let (numeric, error) = (sum(Block::NUMERIC_NUMERIC), sum(Block::ERROR_NUMERIC));
            let errors = sum(Block::ERROR_ERROR);
            // a = n + (a - n).
            tally.numeric_numeric.add(numeric);
            tally.analytic_numeric.add(numeric + error);
            tally
                .analytic_analytic
                .add(numeric + (2.0 * error + errors));
            tally.error_error.add(errors);
            tally.noise_numeric.add(sum(Block::NOISE_NUMERIC));
            tally.numeric_abs.add(sum(Block::NUMERIC_ABS));
            for tolerance in &block.tolerance_numeric {
                tally.tolerance_tolerance.add(tolerance * tolerance);
            }
            for row in block.rows.clone() {
                self.count_label(tally, row, 0);
            }
        }
        for &(error, count) in &comparison.rel_err {
            tally.rel_err.add_count(error, count);
        }
        let sums: Vec<_> = comparison.blocks.iter().map(column_sums).collect();
        tally.columns.add(&sums, columns);
    }

    /// Compares rows on the host.
    fn read_back(
        &self,
        tally: &mut Tally,
        rows: Range<usize>,
        gradient: &Tensor,
        engine: &mut dyn ComparingEngine,
    ) -> Result<()> {
        engine.submit(rows.clone());
        let chunk = engine.collect()?;
        let analytic = |rows, values: &mut Vec<f64>| gradient.read(rows, values);
        self.compare(tally, rows, chunk.as_ref(), &analytic, false);
        Ok(())
    }

    /// Names the worst entries and the sample of what the device compared.
    fn look_again(
        &self,
        tally: &mut Tally,
        mut accepted: Vec<AcceptedRows>,
        gradient: &Tensor,
        engine: &mut dyn ComparingEngine,
        device: &str,
    ) -> Result<()> {
        let mut again = |rows: Range<usize>| {
            let mut seen = Tally::default();
            self.read_back(&mut seen, rows, gradient, engine)?;
            match seen.worst.first() {
                Some(worst) if seen.wrong > 0 => Err(Error::Miscomputes {
                    device: device.to_owned(),
                    kernel: "compare",
                    error: (worst.analytic - worst.numeric).abs(),
                    bound: worst.tolerance + worst.noise,
                }),
                _ => Ok(seen),
            }
        };
        let rows = accepted.iter().flat_map(|accepted| accepted.rows.clone());
        for row in Tally::drawn(rows) {
            for entry in again(row..row + 1)?.other_samples {
                tally.sample(entry);
            }
        }
        accepted.sort_by(|a, b| b.severity.total_cmp(&a.severity));
        for AcceptedRows { rows, .. } in accepted.into_iter().take(Tally::WORST) {
            for entry in again(rows)?.worst {
                tally.note(entry);
            }
        }
        Ok(())
    }
}

/// In the order of [`Columns::add`](crate::report::Columns::add).
fn column_sums(block: &Block) -> [Vec<f64>; 6] {
    let numeric = &block.columns[Block::NUMERIC_NUMERIC];
    let errors = block.columns[Block::ERROR_NUMERIC].iter();
    [
        numeric.iter().zip(errors).map(|(n, e)| n + e).collect(),
        numeric.clone(),
        block.columns[Block::TOLERANCE_TOLERANCE].clone(),
        block.columns[Block::TOLERANCE_NUMERIC].clone(),
        block.columns[Block::NOISE_NUMERIC].clone(),
        block.columns[Block::NUMERIC_ABS].clone(),
    ]
}
