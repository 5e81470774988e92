//! Compares a gradient on the device that computes the numeric one. The host reads back sums, not
//! entries.
//!
//! The host reads back calls with a suspect, a sample of the rows, and the blocks with the worst
//! entries, and compares them in f64. The verdict, the findings and the listed entries of a wrong
//! gradient therefore come from the host alone. For a right gradient, the host may list different
//! worst entries than it would on its own, of about the same severity.

use std::ops::Range;

use super::{Listener, comparator::Comparator};
use crate::{
    budget,
    engine::{Allowance, Block, BlockColumns, ComparingEngine, DeviceComparison},
    error::{Error, Result},
    report::{ColumnSums, Kept, Tally},
    tensor::Tensor,
};

/// Adds leading rows of `gradient` to the tally, in order. Returns the number of these rows.
///
/// The number is less than n if the listener interrupts, or if more calls have suspects than not.
/// The host then compares the other rows.
pub(super) fn tally_rows(
    comparator: &Comparator<'_>,
    gradient: &Tensor,
    engine: &mut dyn ComparingEngine,
    device: &str,
    tally: &mut Tally,
    listener: &mut dyn Listener,
) -> Result<usize> {
    let (n, m) = (comparator.problem.n(), comparator.columns());
    let block = budget::block_rows(comparator.problem, comparator.plan.derivative());
    let calls: Vec<Range<usize>> = budget::calls(n, engine.rows_per_call(), block).collect();
    let mut upcoming = calls.iter();
    for rows in upcoming.by_ref().take(budget::CALLS_AHEAD) {
        engine.submit_comparison(rows.clone(), gradient);
    }
    let mut accepted: Vec<AcceptedRows> = Vec::new();
    let (mut done, mut accepted_calls, mut suspected_calls) = (0, 0, 0);
    for rows in &calls {
        if listener.is_interrupted() || suspected_calls > accepted_calls {
            break;
        }
        if let Some(next) = upcoming.next() {
            engine.submit_comparison(next.clone(), gradient);
        }
        let comparison = engine.collect_comparison()?;
        let suspects = comparison.suspects;
        tracing::debug!(
            "rows {} to {}, compared on the device: {suspects} entries to compare again",
            rows.start,
            rows.end - 1
        );
        let keeps_squares = |block: &Block| keeps_its_squares(&block.columns);
        if suspects == 0 && comparison.blocks.iter().all(keeps_squares) {
            accepted_calls += 1;
            comparator.add(tally, &comparison);
            accepted.extend(comparison.blocks.into_iter().map(|block| AcceptedRows {
                rows: block.rows,
                severity: block.severity,
            }));
        } else {
            suspected_calls += 1;
            comparator.read_back(tally, rows.clone(), gradient, engine)?;
        }
        done = rows.end;
        listener.progress((done * m) as u64, (n * m) as u64);
    }
    comparator.compare_again(tally, accepted, gradient, engine, device)?;
    Ok(done)
}

/// Rows whose sums were accepted from the device.
struct AcceptedRows {
    rows: Range<usize>,
    /// The largest severity of an entry.
    severity: f64,
}

/// Returns false if a sum of squares underflowed to zero although the sum of the values did not.
fn keeps_its_squares(columns: &BlockColumns) -> bool {
    let keeps = |squares: &[f64], values: &[f64]| {
        let mut pairs = squares.iter().zip(values);
        pairs.all(|(squares, values)| *squares != 0.0 || !(*values > 0.0))
    };
    keeps(&columns.numeric_numeric, &columns.numeric_abs)
        && keeps(&columns.tolerance_tolerance, &columns.tolerance_numeric)
}

impl Comparator<'_> {
    /// Returns the bounds that a device needs for the comparison.
    pub(super) fn allowance(&self) -> Allowance {
        let weights = self.plan.quotients().map(|(_, weight)| weight.abs());
        // One rounding for each step that is added and two for the normalizer, doubled for safety.
        let roundings = 2.0 * (self.plan.steps().count() as f64 * weights.sum::<f64>() + 2.0);
        let (noise_by_magnitude, noise_floor) = self.noise.of_row(1.0, 0.0);
        Allowance {
            normalizer: self.problem.normalizer(),
            slack: roundings * self.plan.precision.unit_roundoff(),
            unit_roundoff: self.plan.dtype.unit_roundoff(),
            rounding: self.tolerance.rounding,
            drift: self.tolerance.drift,
            floor: self.tolerance.floor,
            lost: self.tolerance.lost,
            given: self.tolerance.given.map(|given| [given.rtol, given.atol]),
            noise: self.noise.by_column.clone(),
            noise_by_magnitude,
            noise_drift: self.noise.drift,
            noise_floor,
        }
    }

    /// Adds a device's comparison without suspects.
    fn add(&self, tally: &mut Tally, comparison: &DeviceComparison) {
        let (columns, frame) = (self.columns(), self.frame());
        for block in &comparison.blocks {
            tally.counts.entries += (block.rows.len() * columns) as u64;
            tally.counts.undecided += block.undecided;
            tally.rel_err.max = tally.rel_err.max.max(block.max_rel_err);
            tally.rel_err.sum.add(block.sum_rel_err);
            tally.sensitivity.least = tally.sensitivity.least.min(block.least_detectable);
            tally.sensitivity.caught.merge(block.caught);
            let sum = |values: &[f64]| values.iter().sum::<f64>();
            let sums = &block.columns;
            let (numeric, error) = (sum(&sums.numeric_numeric), sum(&sums.error_numeric));
            let errors = sum(&sums.error_error);
            // a = n + (a - n).
            tally.sums.numeric_numeric.add(numeric);
            tally.sums.analytic_numeric.add(numeric + error);
            tally
                .sums
                .analytic_analytic
                .add(numeric + (2.0 * error + errors));
            tally.sums.error_error.add(errors);
            tally.sums.noise_numeric.add(sum(&sums.noise_numeric));
            tally.sums.numeric_abs.add(sum(&sums.numeric_abs));
            for tolerance in &block.tolerance_numeric {
                tally.sums.tolerance_tolerance.add(tolerance * tolerance);
            }
            for row in block.rows.clone() {
                frame.count_label(tally, row, 0);
            }
        }
        for &(error, count) in &comparison.rel_err {
            tally.rel_err.histogram.add_count(error, count);
        }
        let blocks = comparison.blocks.iter();
        let sums: Vec<_> = blocks.map(|block| column_sums(&block.columns)).collect();
        tally.columns.add(&sums, columns);
    }

    /// Reads rows back, and compares them on the host.
    fn read_back(
        &self,
        tally: &mut Tally,
        rows: Range<usize>,
        gradient: &Tensor,
        engine: &mut dyn ComparingEngine,
    ) -> Result<()> {
        engine.submit(rows.clone());
        let source = engine.collect()?;
        let analytic = |rows, values: &mut Vec<f64>| gradient.read(rows, values);
        self.frame()
            .compare(tally, rows, source.as_ref(), &analytic);
        Ok(())
    }

    /// Compares a sample of the accepted rows, and the blocks with the worst entries, again on the
    /// host. Adds their entries to the tally.
    ///
    /// # Errors
    /// [`Error::Miscomputes`] if an entry that the device accepted is wrong.
    fn compare_again(
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
            match seen.kept.worst.first() {
                Some(worst) if seen.counts.wrong > 0 => Err(Error::Miscomputes {
                    device: device.to_owned(),
                    kernel: "compare",
                    error: (worst.analytic - worst.numeric).abs(),
                    bound: worst.tolerance + worst.noise,
                }),
                _ => Ok(seen),
            }
        };
        let rows = accepted.iter().flat_map(|accepted| accepted.rows.clone());
        for row in Kept::sampled_rows(rows) {
            for entry in again(row..row + 1)?.kept.others {
                tally.kept.add_sample(entry);
            }
        }
        accepted.sort_by(|a, b| b.severity.total_cmp(&a.severity));
        for AcceptedRows { rows, .. } in accepted.into_iter().take(Kept::WORST) {
            for entry in again(rows)?.kept.worst {
                tally.kept.add_worst(entry);
            }
        }
        Ok(())
    }
}

/// Converts a block's sums to those that the host keeps.
fn column_sums(sums: &BlockColumns) -> ColumnSums<Vec<f64>> {
    let pairs = sums.numeric_numeric.iter().zip(&sums.error_numeric);
    ColumnSums {
        // a·n = n² + (a - n)·n.
        analytic_numeric: pairs.map(|(numeric, error)| numeric + error).collect(),
        numeric_numeric: sums.numeric_numeric.clone(),
        tolerance_tolerance: sums.tolerance_tolerance.clone(),
        tolerance_numeric: sums.tolerance_numeric.clone(),
        noise_numeric: sums.noise_numeric.clone(),
        numeric_abs: sums.numeric_abs.clone(),
    }
}
