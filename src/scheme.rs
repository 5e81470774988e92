//! Difference schemes as values: where the loss is taken, with which coefficients, at which step.

use serde::Serialize;

use crate::tensor::Dtype;

/// How the losses at the perturbed points are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Loss differences by an identity that cannot cancel: log1p of a product with expm1(eps·W).
    #[default]
    Difference,
    /// Two plain forward passes an entry, subtracted.
    ForwardPass,
}

/// The arithmetic that the losses are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Precision {
    F32,
    F64,
}

impl Precision {
    /// The unit roundoff u = 2^-p.
    pub fn unit_roundoff(self) -> f64 {
        self.dtype().unit_roundoff()
    }

    /// The element type of a gradient that is computed in it.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }

    /// The smallest normal value: below it a device may flush to zero.
    pub fn smallest_normal(self) -> f64 {
        self.dtype().smallest_kept()
    }

    /// `value` rounded to this precision.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F32 => f64::from(value as f32),
            Self::F64 => value,
        }
    }
}

/// A finite difference: the derivative is sum_o `coefficients[o]` · L(x + `offsets[o]`·eps) / eps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheme {
    /// Its name in flags and reports.
    pub name: &'static str,
    /// Where the loss is taken, in steps.
    pub offsets: &'static [f64],
    /// What each loss counts. sum_o `coefficients[o]`·`offsets[o]` = 1, so that a line is exact.
    pub coefficients: &'static [f64],
}

/// (L(x + eps) - L(x - eps)) / (2 eps): the error is eps²/6 of the third derivative.
pub const CENTRAL: Scheme = Scheme {
    name: "central",
    offsets: &[1.0, -1.0],
    coefficients: &[0.5, -0.5],
};

impl Scheme {
    /// The step chosen where none is given: a power of two, so that x ± eps is rounded as little as can be,
    /// over `scale`, the largest |dz/dx| (the largest weight for the input, 1 for the logits).
    ///
    /// The difference form has no rounding floor that grows as eps shrinks: eps·scale is set so that the
    /// truncation, (eps·scale)²/6 relative to the terms of the gradient, falls below half a unit of the working
    /// precision: 2^-13 in f32, 2^-27 in f64. Plain differences of a loss balance truncation h² against rounding u/h
    /// at h = u^(1/3): 2^-8 and 2^-18.
    pub fn auto_eps(&self, method: Method, precision: Precision, scale: f64) -> f64 {
        let exponent = match (method, precision) {
            (Method::Difference, Precision::F32) => -13,
            (Method::Difference, Precision::F64) => -27,
            (Method::ForwardPass, Precision::F32) => -8,
            (Method::ForwardPass, Precision::F64) => -18,
        };
        let scale_exponent = if scale > 0.0 {
            scale.log2().ceil() as i32
        } else {
            0
        };
        // Kept where x ± eps and 1/eps stay representable in f32, whatever the weights.
        2f64.powi((exponent - scale_exponent).clamp(-100, 100))
    }

    /// The derivative from `losses[o]` taken at `points[o]`. Points rather than eps: what counts is where
    /// the loss was taken after x + offset·eps was rounded.
    /// 0 where rounding moved no point at all, as a loop that divides 0 by 2·eps would say.
    pub fn derivative(
        &self,
        losses: impl Iterator<Item = f64>,
        points: impl Iterator<Item = f64>,
    ) -> f64 {
        let rise = self.weigh(losses);
        let run = self.weigh(points);
        if run == 0.0 { 0.0 } else { rise / run }
    }

    /// The derivative from the difference quotients (L(x + step) - L(x)) / step, step = offset·eps.
    pub fn combine(&self, quotients: impl Iterator<Item = f64>) -> f64 {
        self.weigh(
            quotients
                .zip(self.offsets)
                .map(|(quotient, offset)| quotient * offset),
        )
    }

    /// sum_o `coefficients[o]`·`values[o]`.
    fn weigh(&self, values: impl Iterator<Item = f64>) -> f64 {
        self.coefficients
            .iter()
            .zip(values)
            .map(|(c, v)| c * v)
            .sum()
    }

    /// A bound on the truncation error relative to S, the sum of magnitudes of a gradient's terms, where
    /// `reach` is eps times the range of the derivatives `dz[c]`/dx over the classes c.
    ///
    /// The loss's third derivative along x is the third central moment of dz/dx under the softmax, at most range²
    /// times its mean absolute deviation, which is at most 2 sum_c `p[c]` |`dz[c]`/dx|. Inside the step p grows by at most
    /// exp(2·reach). So eps²/6 · |L'''| <= reach²/3 · exp(2·reach) · S.
    pub fn truncation(&self, reach: f64) -> f64 {
        reach * reach / 3.0 * (2.0 * reach).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_differentiated_exactly() {
        let slope = |x: f64| 3.0 * x + 1.0;
        let points = [2.5, 1.5];
        assert_eq!(
            CENTRAL.derivative(points.into_iter().map(slope), points.into_iter()),
            3.0
        );
    }

    #[test]
    fn a_step_that_rounds_away_gives_zero_and_not_nan() {
        assert_eq!(
            CENTRAL.derivative([1.0, 1.0].into_iter(), [2.0, 2.0].into_iter()),
            0.0
        );
    }

    #[test]
    fn auto_eps_is_a_power_of_two_scaled_by_the_weights() {
        let eps = |scale| CENTRAL.auto_eps(Method::Difference, Precision::F32, scale);
        assert_eq!(eps(1.0), 2f64.powi(-13));
        assert_eq!(eps(0.05), 2f64.powi(-9));
        assert_eq!(eps(0.0), 2f64.powi(-13));
        assert!(eps(1e300) > 0.0 && eps(1e-300).is_finite());
    }
}
