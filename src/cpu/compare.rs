//! Compares the rows of a gradient with the numeric one: the twin of the shader `compare`.
//!
//! Only sums leave a device, so this computes the same sums. The CPU engine does not use it: there
//! the [`Comparator`](crate::check) sees every entry.
//!
//! For each entry, with a the analytic and g the numeric gradient, and c the conditioning:
//!
//! ```text
//! rounding  = rounding_factor exp(2 u M) c + drift |g| + floor
//! tolerance = rounding, or rtol max(|a|, |g|) + atol
//! noise     = c (noise[column] + noise_by_magnitude A) + noise_drift |g| + noise_floor
//! suspect   : |a - g| + slack |g| > 63/64 (tolerance + noise), or not finite
//! ```
//!
//! with u the unit roundoff of the gradient, M the largest move of a logit that rounding explains,
//! and A the largest magnitude behind a logit of the row.
//!
//! The host compares suspects again in f64. The factor 63/64 and the slack make sure that an entry
//! that the host would reject is a suspect, although a device computes in f32.

use std::ops::Range;

use crate::plan::{Allowance, Block, DeviceComparison};

/// Rows of a block: their column sums are added as one.
pub const BLOCK_ROWS: usize = 256;

/// Share of the allowed error below which an entry is clearly right: 63/64. Chosen: 1/64 is far
/// above the rounding of f32.
const CLEAR: f64 = 0.984_375;

/// The rows of a gradient under test, and the results of the kernels for them.
pub struct ComparedRows<'a> {
    /// The analytic gradient, [rows, m].
    pub analytic: &'a [f64],
    /// The derivative, [rows, m], not divided by the normaliser.
    pub derivative: &'a [f64],
    /// The conditioning, [rows, m], not divided by the normaliser.
    pub conditioning: &'a [f64],
    /// [rows, 2]: the largest magnitude behind a logit of the row, and the largest move of a logit.
    pub bounds: &'a [f64],
}

/// Compares a range of rows. `compared` begins with the first of them.
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
            columns: [(); 7].map(|()| vec![0.0; columns]),
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
    let bounds = [compared.bounds[2 * row], compared.bounds[2 * row + 1]];
    let mut sum = 0.0;
    for (column, entry) in entries.enumerate() {
        let a = analytic[column];
        let g = compared.derivative[entry] / allowance.normalizer;
        let c = compared.conditioning[entry] / allowance.normalizer;
        let held = hold(allowance, column, [a, g, c], bounds);
        let (error, largest) = ((a - g).abs(), a.abs().max(g.abs()));
        let rel_err = if error > 0.0 { error / largest } else { 0.0 };
        comparison.rel_err.push((rel_err, 1));
        comparison.suspects += u64::from(held.is_suspect);
        count(
            block,
            a,
            analytic[(column + 1) % columns],
            g,
            rel_err,
            &held,
        );
        sum += add(block, column, a, g, &held);
    }
    sum
}

/// An entry against its bounds.
struct Held {
    tolerance: f64,
    noise: f64,
    is_suspect: bool,
    is_undecided: bool,
}

/// Holds an entry, with the analytic value a, the numeric value g and the conditioning c, against
/// its bounds.
fn hold(
    allowance: &Allowance,
    column: usize,
    [a, g, c]: [f64; 3],
    [magnitude, moved]: [f64; 2],
) -> Held {
    let (error, largest) = ((a - g).abs(), a.abs().max(g.abs()));
    // Errors of the logits change the softmax by a factor of up to this.
    let spread = (2.0 * allowance.unit_roundoff * moved).exp();
    let rounding = allowance.rounding * spread * c + allowance.drift * g.abs() + allowance.floor;
    let tolerance = match allowance.given {
        Some([rtol, atol]) => rtol * largest + atol,
        None => rounding,
    };
    let noise = c * (allowance.noise[column] + allowance.noise_by_magnitude * magnitude)
        + allowance.noise_drift * g.abs()
        + allowance.noise_floor;
    let is_within = error + allowance.slack * g.abs() <= (tolerance + noise) * CLEAR;
    let is_certified = allowance
        .given
        .is_none_or(|[_, atol]| largest >= atol || error <= rounding + noise);
    Held {
        tolerance,
        noise,
        is_suspect: !(is_within && a.is_finite() && g.is_finite()),
        is_undecided: !(noise <= tolerance && is_certified),
    }
}

/// Adds an entry to the counts and extremes of its block. `next` is the analytic entry of the next
/// column.
fn count(block: &mut Block, a: f64, next: f64, g: f64, rel_err: f64, held: &Held) {
    let (error, allowed) = ((a - g).abs(), held.tolerance + held.noise);
    block.undecided += u64::from(held.is_undecided);
    block.sum_rel_err += rel_err;
    block.max_rel_err = block.max_rel_err.max(rel_err);
    if error > 0.0 {
        block.severity = block.severity.max(error / allowed);
    }
    if g != 0.0 {
        block.least_detectable = block.least_detectable.min(allowed / g.abs());
    }
    // Corrupted copies of the gradient: all zero, of the other sign, half as large again, and moved
    // by a column. The last flag is set if moving it changes anything.
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
}

/// Adds an entry to the sums of its column. Returns tolerance times |numeric|.
fn add(block: &mut Block, column: usize, a: f64, g: f64, held: &Held) -> f64 {
    let (error, t) = ((a - g).abs(), held.tolerance * g.abs());
    let terms = [
        g * g,
        (a - g) * g,
        error * error,
        t * t,
        t,
        held.noise * g.abs(),
        g.abs(),
    ];
    for (sums, term) in block.columns.iter_mut().zip(terms) {
        sums[column] += term;
    }
    t
}
