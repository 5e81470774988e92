//! The comparison of a gradient with the numeric one, summed up over blocks of rows: the twin of what a device does. The CPU engine
//! itself keeps more than sums (`check::compare`).

use std::ops::Range;

use crate::plan::{Allowance, Block, DeviceComparison};

/// Rows of a block.
pub const BLOCK_ROWS: usize = 256;

/// The rows of a gradient under test, and what was computed of them.
pub struct Operands<'a> {
    /// [rows, m].
    pub analytic: &'a [f64],
    /// [rows, m], not divided by the normaliser.
    pub derivative: &'a [f64],
    /// [rows, m], likewise.
    pub conditioning: &'a [f64],
    /// [rows, 2]: the largest magnitude behind a logit, and the largest of what of it counts.
    pub bounds: &'a [f64],
}

/// Compares a range of rows.
pub fn compare(
    rows: Range<usize>,
    operands: &Operands<'_>,
    allowance: &Allowance,
) -> DeviceComparison {
    let columns = allowance.noise.len();
    let mut comparison = DeviceComparison::default();
    for start in rows.clone().step_by(BLOCK_ROWS) {
        let mut block = Block {
            rows: start..rows.end.min(start + BLOCK_ROWS),
            columns: [(); 7].map(|()| vec![0.0; columns]),
            least_detectable: f64::INFINITY,
            ..Block::default()
        };
        for row in block.rows.clone() {
            let here = row - rows.start;
            let of_row = add(&mut comparison, &mut block, here, operands, allowance);
            block.tolerance_numeric.push(of_row);
        }
        comparison.blocks.push(block);
    }
    comparison
}

/// Adds a row; returns its sum of tolerance times |numeric|.
fn add(
    comparison: &mut DeviceComparison,
    block: &mut Block,
    row: usize,
    operands: &Operands<'_>,
    allowance: &Allowance,
) -> f64 {
    let columns = allowance.noise.len();
    let entries = row * columns..(row + 1) * columns;
    let analytic = &operands.analytic[entries.clone()];
    let (magnitude, moved) = (operands.bounds[2 * row], operands.bounds[2 * row + 1]);
    let spread = (2.0 * allowance.unit_roundoff * moved).exp();
    let mut of_row = 0.0;
    for (column, entry) in entries.enumerate() {
        let a = analytic[column];
        let g = operands.derivative[entry] / allowance.normalizer;
        let c = operands.conditioning[entry] / allowance.normalizer;
        let (error, largest) = ((a - g).abs(), a.abs().max(g.abs()));
        let rounding =
            allowance.rounding * spread * c + allowance.drift * g.abs() + allowance.floor;
        let tolerance = match allowance.given {
            Some([rtol, atol]) => rtol * largest + atol,
            None => rounding,
        };
        let noise = c * (allowance.noise[column] + allowance.noise_by_magnitude * magnitude)
            + allowance.noise_drift * g.abs()
            + allowance.noise_floor;
        let allowed = tolerance + noise;
        let is_within = error + allowance.slack * g.abs() <= allowed * 0.984_375;
        let is_certified = allowance
            .given
            .is_none_or(|[_, atol]| largest >= atol || error <= rounding + noise);
        comparison.suspects += u64::from(!(is_within && a.is_finite() && g.is_finite()));
        block.undecided += u64::from(!(noise <= tolerance && is_certified));
        let rel_err = if error > 0.0 { error / largest } else { 0.0 };
        comparison.rel_err.push((rel_err, 1));
        block.sum_rel_err += rel_err;
        block.max_rel_err = block.max_rel_err.max(rel_err);
        if error > 0.0 {
            block.severity = block.severity.max(error / allowed);
        }
        if g != 0.0 {
            block.least_detectable = block.least_detectable.min(allowed / g.abs());
        }
        // Corrupted copies of the gradient go through the same comparison.
        let next = analytic[(column + 1) % columns];
        let caught = [
            g.abs() > allowed,
            (a + g).abs() > allowed,
            (1.5 * a - g).abs() > allowed,
            (next - g).abs() > allowed,
            next != a,
        ];
        for (all, caught) in block.caught.iter_mut().zip(caught) {
            *all |= caught;
        }
        let t = tolerance * g.abs();
        let terms = [
            g * g,
            (a - g) * g,
            error * error,
            t * t,
            t,
            noise * g.abs(),
            g.abs(),
        ];
        for (sums, term) in block.columns.iter_mut().zip(terms) {
            sums[column] += term;
        }
        of_row += t;
    }
    of_row
}
