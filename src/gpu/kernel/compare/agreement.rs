//! Compares two comparisons of the same rows, up to rounding.

use super::record::octaves;
use crate::{
    engine::{Block, DeviceComparison},
    gpu::kernel::operand::Disagreement,
    scheme::Precision,
};

/// Roundings that may add up in a sum over a block (chosen).
const ROUNDINGS: f64 = 64.0;

/// The first value that differs by more than its bound. A NaN exceeds any bound.
struct Pairs(Option<Disagreement>);

impl Pairs {
    /// Compares a value with the expected one.
    fn hold(&mut self, name: &str, found: f64, expected: f64, bound: f64) {
        if self.0.is_none() {
            self.0 = Disagreement::of(|| name.to_owned(), found, expected, bound);
        }
    }
}

/// Returns the first value in which `found` differs from `expected` by more than rounding explains.
/// `found` comes from a device, which rounds the numeric gradient once more, by up to `slack` times
/// |numeric|.
pub(in crate::gpu) fn disagreement(
    precision: Precision,
    found: &DeviceComparison,
    expected: &DeviceComparison,
    slack: f64,
) -> Option<Disagreement> {
    let mut pairs = Pairs(None);
    let counts = [found.suspects, expected.suspects].map(|count| count as f64);
    pairs.hold("suspects", counts[0], counts[1], 0.0);
    let counts = [found, expected].map(|comparison| {
        let counts = comparison.rel_err.iter().map(|(_, count)| *count);
        counts.sum::<u64>() as f64
    });
    pairs.hold("entries of the histogram", counts[0], counts[1], 0.0);
    let blocks = [found, expected].map(|comparison| comparison.blocks.len() as f64);
    pairs.hold("blocks", blocks[0], blocks[1], 0.0);
    let rounding = ROUNDINGS * precision.unit_roundoff();
    for (found, expected) in found.blocks.iter().zip(&expected.blocks) {
        hold_block(&mut pairs, found, expected, slack, rounding);
    }
    // The middle of a bin is within 0.8 % of the errors that it counts. An error below the lowest
    // bin counts as 0.
    let errors = found.rel_err.iter();
    let sum: f64 = errors.map(|(error, count)| error * *count as f64).sum();
    let exact = expected.blocks.iter().map(|block| block.sum_rel_err);
    let exact: f64 = exact.sum();
    let lowest = 2f64.powi(2 - octaves(precision) as i32);
    let bound = 0.01 * exact + counts[1] * (2.0 * slack + lowest);
    pairs.hold("sum of the histogram", sum, exact, bound);
    pairs.0
}

fn hold_block(pairs: &mut Pairs, found: &Block, expected: &Block, slack: f64, rounding: f64) {
    let (f, e) = (&found.columns, &expected.columns);
    for column in 0..e.numeric_numeric.len() {
        let mut hold = |name, found: &[f64], expected: &[f64], by_slack| {
            let value = expected[column];
            let bound = value.abs() * rounding + by_slack;
            pairs.hold(name, found[column], value, bound);
        };
        let numeric = e.numeric_numeric[column].sqrt();
        let (errors, moved) = (e.error_error[column].sqrt(), slack * numeric);
        let (numeric_by, error_by) = (moved * (numeric + errors), moved * (2.0 * errors + moved));
        hold(
            "numeric_numeric",
            &f.numeric_numeric,
            &e.numeric_numeric,
            0.0,
        );
        hold(
            "error_numeric",
            &f.error_numeric,
            &e.error_numeric,
            numeric_by,
        );
        hold("error_error", &f.error_error, &e.error_error, error_by);
        let (found, expected) = (&f.tolerance_tolerance, &e.tolerance_tolerance);
        hold("tolerance_tolerance", found, expected, 0.0);
        let (found, expected) = (&f.tolerance_numeric, &e.tolerance_numeric);
        hold("tolerance_numeric", found, expected, 0.0);
        hold("noise_numeric", &f.noise_numeric, &e.noise_numeric, 0.0);
        hold("numeric_abs", &f.numeric_abs, &e.numeric_abs, 0.0);
    }
    let rows = found.tolerance_numeric.iter();
    for (&found, &value) in rows.zip(&expected.tolerance_numeric) {
        pairs.hold("tolerance_numeric of a row", found, value, value * rounding);
    }
    let (a, b) = (found, expected);
    let entries = (b.rows.len() * b.columns.numeric_numeric.len()) as f64;
    let relative = |value: f64| value * rounding;
    let errors = entries * 2.0 * slack + relative(b.sum_rel_err);
    pairs.hold("sum_rel_err", a.sum_rel_err, b.sum_rel_err, errors);
    let largest = 2.0 * slack + relative(b.max_rel_err);
    pairs.hold("max_rel_err", a.max_rel_err, b.max_rel_err, largest);
    pairs.hold("undecided", a.undecided as f64, b.undecided as f64, 0.0);
    let severity = slack / b.least_detectable + relative(b.severity);
    pairs.hold("severity", a.severity, b.severity, severity);
    // The error of an entry is part of it.
    let least = relative(b.least_detectable) + 4.0 * slack;
    pairs.hold(
        "least_detectable",
        a.least_detectable,
        b.least_detectable,
        least,
    );
    let differs = f64::from(u8::from(a.caught != b.caught));
    pairs.hold("caught", differs, 0.0, 0.0);
}
