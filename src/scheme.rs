//! Difference schemes as values: where the loss is taken, with which coefficients, at which step.

use serde::{Deserialize, Serialize};

use crate::tensor::Dtype;

/// How the losses at the perturbed points are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Loss differences by an identity that cannot cancel: log1p of a product with expm1(eps·W).
    #[default]
    Difference,
    /// Two plain forward passes an entry, subtracted.
    ForwardPass,
}

/// The arithmetic that the losses are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
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
    /// The power of eps that its truncation error falls with.
    pub order: i32,
    /// Where the loss is taken, in steps.
    pub offsets: &'static [f64],
    /// What each loss counts. sum_o `coefficients[o]`·`offsets[o]` = 1, so that a line is exact, and the coefficients
    /// sum to 0, so that a constant is.
    pub coefficients: &'static [f64],
}

/// (L(x + eps) - L(x)) / eps: one loss less, and an error of eps/2 of the second derivative.
pub const FORWARD: Scheme = Scheme {
    name: "forward",
    order: 1,
    offsets: &[1.0, 0.0],
    coefficients: &[1.0, -1.0],
};

/// (L(x + eps) - L(x - eps)) / (2 eps): the error is eps²/6 of the third derivative.
pub const CENTRAL: Scheme = Scheme {
    name: "central",
    order: 2,
    offsets: &[1.0, -1.0],
    coefficients: &[0.5, -0.5],
};

/// Central differences at eps and 2 eps, combined: the error is eps⁴/30 of the fifth derivative.
pub const FIVE_POINT: Scheme = Scheme {
    name: "five-point",
    order: 4,
    offsets: &[2.0, 1.0, -1.0, -2.0],
    coefficients: &[-1.0 / 12.0, 8.0 / 12.0, -8.0 / 12.0, 1.0 / 12.0],
};

impl Default for Scheme {
    fn default() -> Self {
        CENTRAL
    }
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [FORWARD, CENTRAL, FIVE_POINT];

    /// The steps at which losses are taken by `method`, with what each counts. A difference from the loss at 0 steps is
    /// nothing, and is not taken.
    pub fn terms(&self, method: Method) -> impl Iterator<Item = (f64, f64)> + use<> {
        let terms = self
            .offsets
            .iter()
            .copied()
            .zip(self.coefficients.iter().copied());
        terms.filter(move |(offset, _)| method == Method::ForwardPass || *offset != 0.0)
    }

    /// The step chosen where none is given: a power of two, so that x ± eps is rounded as little as can be,
    /// over `scale`, the largest |dz/dx| (the largest weight for the input, 1 for the logits).
    ///
    /// The difference form has no rounding floor that grows as eps shrinks: eps·scale is set so that the
    /// truncation, about (eps·scale)^order relative to the terms of the gradient, falls two bits below the working
    /// precision: 2^-13 for central differences in f32, 2^-27 in f64. Plain differences of a loss balance truncation h^order
    /// against rounding u/h, at h = u^(1/(order + 1)): 2^-8 and 2^-18.
    pub fn auto_eps(&self, method: Method, precision: Precision, scale: f64) -> f64 {
        let bits = match precision {
            Precision::F32 => 24,
            Precision::F64 => 53,
        };
        let exponent = match method {
            Method::Difference => -(bits + 2) / self.order,
            Method::ForwardPass => -(bits + 1) / (self.order + 1),
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

    /// sum_o `coefficients[o]`·`values[o]`.
    fn weigh(&self, values: impl Iterator<Item = f64>) -> f64 {
        self.coefficients
            .iter()
            .zip(values)
            .map(|(c, v)| c * v)
            .sum()
    }

    /// What an error in each of the losses may come to in the derivative, in units of it over eps.
    pub fn amplification(&self) -> f64 {
        self.coefficients.iter().map(|c| c.abs()).sum()
    }

    /// A bound on the truncation error relative to S, the sum of magnitudes of a gradient's terms, where
    /// `reach` is eps times the range of the derivatives `dz[c]`/dx over the classes c.
    ///
    /// Along x the loss's derivatives are the cumulants of w = dz/dx under the softmax. With D the mean absolute deviation,
    /// at most 2 sum_c `p[c]` |`w[c]`| <= 2 S: the second is at most range·D, the third range²·D, and the fifth,
    /// m5 - 10 m3 m2 with m2 <= range²/4, at most 3.5·range⁴·D. Inside a step p grows by at most exp(2·reach), inside two by its
    /// square. The schemes' errors are eps/2, eps²/6 and eps⁴/30 of them.
    pub fn truncation(&self, reach: f64) -> f64 {
        match self.order {
            1 => reach * (2.0 * reach).exp(),
            2 => reach * reach / 3.0 * (2.0 * reach).exp(),
            _ => reach.powi(4) / 4.0 * (4.0 * reach).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_up_to_the_order_are_differentiated_exactly() {
        for scheme in Scheme::ALL {
            for power in 0..=scheme.order {
                let (x, eps) = (1.5f64, 0.25);
                let points: Vec<f64> = scheme
                    .offsets
                    .iter()
                    .map(|offset| x + offset * eps)
                    .collect();
                let losses = points.iter().map(|x| x.powi(power));
                let found = scheme.derivative(losses, points.iter().copied());
                let exact = f64::from(power) * x.powi(power - 1);
                assert!(
                    (found - exact).abs() < 1e-12,
                    "{} x^{power}: {found} {exact}",
                    scheme.name
                );
                let terms = scheme
                    .terms(Method::Difference)
                    .map(|(offset, coefficient)| {
                        let step = offset * eps;
                        let quotient = ((x + step).powi(power) - x.powi(power)) / step;
                        offset * coefficient * quotient
                    });
                let found: f64 = terms.sum();
                assert!((found - exact).abs() < 1e-12, "{} x^{power}", scheme.name);
            }
        }
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
        assert_eq!(
            FORWARD.auto_eps(Method::ForwardPass, Precision::F64, 1.0),
            2f64.powi(-27)
        );
        assert_eq!(
            FIVE_POINT.auto_eps(Method::Difference, Precision::F64, 1.0),
            2f64.powi(-13)
        );
    }
}
