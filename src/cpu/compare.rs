//! Compares the rows of a gradient with the numeric one: the twin of the shader `compare`.
//!
//! A device returns only sums, so this computes the same sums. The CPU engine does not use it: its
//! entries are all compared by the [`Comparator`](crate::check).
//!
//! For each entry, with a the analytic and g the numeric gradient:
//!
//! ```text
//! suspect: |a - g| + slack |g| > 63/64 (tolerance + noise), or not finite
//! ```
//!
//! with tolerance and noise as in [`rounding`](crate::rounding).
//!
//! The host compares suspects again in f64. The factor 63/64 and the slack ensure that every entry
//! that the host would reject is a suspect, even if the device computes in f32.

use std::ops::Range;

use crate::{
    engine::{Allowance, Block, BlockColumns, DeviceComparison},
    rounding::{Caught, Judgement},
};

/// Rows of a block. The column sums of a block are added to the total as one term.
pub const BLOCK_ROWS: usize = 256;

/// Share of the allowed error below which an entry is clearly right: 63/64. Chosen: 1/64 is far
/// above the rounding of f32.
const CLEAR: f64 = 0.984_375;

/// The rows of a gradient under test, and the results of the kernels for them.
pub struct ComparedRows<'a> {
    /// The analytic gradient, [rows, m].
    pub analytic: &'a [f64],
    /// The derivative, [rows, m], not divided by the normalizer.
    pub derivative: &'a [f64],
    /// The conditioning, [rows, m], not divided by the normalizer.
    pub conditioning: &'a [f64],
    /// The largest magnitude and the largest logit error of each row, [rows, 2].
    pub bounds: &'a [f64],
}

/// Compares a range of rows. `compared` begins with the first row of the range.
pub fn compare(
    rows: Range<usize>,
    compared: &ComparedRows<'_>,
    allowance: &Allowance,
) -> DeviceComparison {
    let columns = allowance.noise.len();
    let mut comparison = DeviceComparison::default();
    for start in rows.clone().step_by(BLOCK_ROWS) {
        let mut block = Block {
            rows: start..rows.end.min(start + BLOCK_ROWS),
            columns: BlockColumns::zeros(columns),
            least_detectable: f64::INFINITY,
            ..Block::default()
        };
        for row in block.rows.clone() {
            let sum = compare_row(
                &mut comparison,
                &mut block,
                row - rows.start,
                compared,
                allowance,
            );
            block.tolerance_numeric.push(sum);
        }
        comparison.blocks.push(block);
    }
    comparison
}

/// Adds the entries of a row. Returns the row's sum of tolerance times |numeric|.
fn compare_row(
    comparison: &mut DeviceComparison,
    block: &mut Block,
    row: usize,
    compared: &ComparedRows<'_>,
    allowance: &Allowance,
) -> f64 {
    let columns = allowance.noise.len();
    let entries = row * columns..(row + 1) * columns;
    let analytic = &compared.analytic[entries.clone()];
    let bounds = allowance.row_bounds(compared.bounds[2 * row], compared.bounds[2 * row + 1]);
    let mut sum = 0.0;
    for (column, entry) in entries.enumerate() {
        let a = analytic[column];
        let g = compared.derivative[entry] / allowance.normalizer;
        let c = compared.conditioning[entry] / allowance.normalizer;
        let judgement = bounds.judge(a, g, c.into(), allowance.noise[column]);
        let (error, allowed) = (judgement.error, judgement.allowed());
        let is_clear = error + allowance.slack * g.abs() <= allowed * CLEAR;
        comparison.suspects += u64::from(!(is_clear && a.is_finite() && g.is_finite()));
        let rel_err = if error > 0.0 {
            error / judgement.largest
        } else {
            0.0
        };
        comparison.rel_err.push((rel_err, 1));
        let next = analytic[(column + 1) % columns];
        block.caught.merge(Caught::new(a, next, g, allowed));
        count(block, rel_err, &judgement, judgement.detectable(&bounds, g));
        sum += add(&mut block.columns, column, a, g, &judgement);
    }
    sum
}

/// Adds an entry to the counts and extremes of its block.
fn count(block: &mut Block, rel_err: f64, judgement: &Judgement, detectable: f64) {
    block.undecided += u64::from(!judgement.is_certain);
    block.sum_rel_err += rel_err;
    block.max_rel_err = block.max_rel_err.max(rel_err);
    let allowed = judgement.allowed();
    if judgement.error > 0.0 {
        block.severity = block.severity.max(judgement.error / allowed);
    }
    block.least_detectable = block.least_detectable.min(detectable);
}

/// Adds an entry to the sums of its column. Returns tolerance times |numeric|.
fn add(sums: &mut BlockColumns, column: usize, a: f64, g: f64, judgement: &Judgement) -> f64 {
    let (error, t) = (judgement.error, judgement.tolerance * g.abs());
    sums.numeric_numeric[column] += g * g;
    sums.error_numeric[column] += (a - g) * g;
    sums.error_error[column] += error * error;
    sums.tolerance_tolerance[column] += t * t;
    sums.tolerance_numeric[column] += t;
    sums.noise_numeric[column] += judgement.noise * g.abs();
    sums.numeric_abs[column] += g.abs();
    t
}
