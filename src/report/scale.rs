//! One factor between a gradient, or a column of it, and its numeric counterpart.

use serde::{Deserialize, Serialize};

use super::{Comparison, ExactSum};
use crate::number;

/// The factor s in analytic = s·numeric + rest, in the sense of least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// s = <analytic, numeric> / <numeric, numeric>.
    #[serde(with = "number")]
    pub factor: f64,
    /// The bound on |s - 1| of a correct gradient; infinite if rounding and noise may hide the
    /// whole gradient.
    #[serde(with = "number")]
    pub allowed: f64,
}

/// The sum of squares of a gradient below which no scale is judged: the squares of
/// tolerance·|numeric|, about u²·|numeric|⁴, could underflow in f64. Chosen.
const LEAST_SQUARES: f64 = 1e-120;

impl Scale {
    /// Returns the relative error s above which the gradient, times 1 ± s, would have a scale that
    /// is off; infinite if none would.
    pub(super) fn detectable(&self, unit_roundoff: f64) -> f64 {
        let off = (self.factor - 1.0).abs() + unit_roundoff;
        if self.factor > 0.0 {
            (self.allowed + off) / self.factor
        } else {
            f64::INFINITY
        }
    }

    pub(super) fn is_off(&self) -> bool {
        (self.factor - 1.0).abs() > self.allowed
    }
}

impl Comparison {
    /// Returns the scale of the whole gradient, or `None` if it has none.
    ///
    /// The errors of independent rows average out, but similar rows have similar errors, so three
    /// times the averaged tolerance is allowed, and more if rows are equal. In half precision the
    /// roundings that all entries share are already that large, so only the average is allowed.
    pub fn scale(&self) -> Option<Scale> {
        let sums = &self.tally.sums;
        let margin = if self.dtype.is_half() { 1.0 } else { 3.0 };
        let tolerance = margin * self.tolerance.alike * sums.tolerance_tolerance.value().sqrt();
        let numeric = sums.numeric_numeric.value();
        let allowed =
            self.scale_allowed(numeric, tolerance, &sums.noise_numeric, &sums.numeric_abs);
        self.tally.scale().map(|factor| Scale { factor, allowed })
    }

    /// Returns the columns whose scale is farther from 1 than allowed.
    ///
    /// A column in which terms cancel shows mostly the errors that its rows share. Therefore at
    /// most three quarters of the tolerance are assumed to average out, and none if rows are equal.
    ///
    /// Rows get no such test: the entries of a row share a softmax, so their errors are correlated.
    /// Measured on PyTorch's gradients of 512x256x10 and 512x256x100 (f32 and bf16, November 2026):
    /// the errors of a row correlate with its gradient at 0.13 to 0.40 on average, against 0.05 for
    /// independent errors; those of a column at 0.05, against 0.035.
    pub fn columns_off(&self) -> Vec<(usize, Scale)> {
        let columns = self.tally.columns.0.iter().enumerate();
        columns
            .filter_map(|(column, sums)| {
                let numeric = sums.numeric_numeric.value();
                let all = sums.tolerance_numeric.value();
                let averaged = 3.0 * self.tolerance.alike * sums.tolerance_tolerance.value().sqrt();
                let tolerance = averaged.clamp(all / 4.0, all);
                let allowed =
                    self.scale_allowed(numeric, tolerance, &sums.noise_numeric, &sums.numeric_abs);
                let scale = || Scale {
                    factor: sums.analytic_numeric.value() / numeric,
                    allowed,
                };
                (numeric > 0.0).then(|| (column, scale()))
            })
            .filter(|(_, scale)| scale.is_off())
            .collect()
    }

    /// Returns the bound on |s - 1|. It adds four errors:
    ///
    /// 1. what averaging leaves of the tolerance;
    /// 2. all of the numeric gradient's noise, because its truncation is the same in every row;
    /// 3. underflow;
    /// 4. what all entries share, such as the rounding of the normalizer.
    ///
    /// It is infinite from 1 on: a gradient that these errors could make of zeros has no scale.
    fn scale_allowed(
        &self,
        numeric: f64,
        tolerance: f64,
        noise: &ExactSum,
        numeric_abs: &ExactSum,
    ) -> f64 {
        if numeric < LEAST_SQUARES {
            return f64::INFINITY;
        }
        let given = self.tolerance.given.unwrap_or_default().rtol;
        let errors = tolerance + noise.value() + self.tolerance.floor * numeric_abs.value();
        let allowed = errors / numeric + self.tolerance.shared + given;
        if allowed < 1.0 {
            allowed
        } else {
            f64::INFINITY
        }
    }
}
