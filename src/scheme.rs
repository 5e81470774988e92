//! Finite difference schemes: the points at which the loss is evaluated, their coefficients, and
//! the step.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tensor::Dtype;

/// The method by which losses at perturbed points become a derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Loss differences by an identity that cannot cancel: log1p of a product with expm1(eps·W).
    #[default]
    Difference,
    /// Two plain forward passes per entry, subtracted.
    ForwardPass,
}

impl fmt::Display for Method {
    /// Writes the name that JSON and the flags use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The arithmetic in which losses are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Precision {
    F32,
    F64,
}

impl fmt::Display for Precision {
    /// Writes the name that JSON and the flags use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Precision {
    /// Returns the unit roundoff u = 2^-p.
    pub fn unit_roundoff(self) -> f64 {
        self.dtype().unit_roundoff()
    }

    /// Returns the element type of a gradient that is computed in this precision.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }

    /// Returns the smallest normal value. A device may flush smaller values to zero.
    pub fn smallest_normal(self) -> f64 {
        self.dtype().smallest_kept()
    }

    /// Rounds `value` to this precision.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F32 => f64::from(value as f32),
            Self::F64 => value,
        }
    }
}

/// A finite difference scheme.
///
/// The derivative is sum_o `coefficients[o]` · L(x + `offsets[o]`·eps) / eps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// (L(x + eps) - L(x)) / eps. It needs one loss fewer; the error is eps/2 of the second
    /// derivative.
    Forward,
    /// (L(x + eps) - L(x - eps)) / (2 eps). The error is eps²/6 of the third derivative.
    #[default]
    Central,
    /// Central differences at eps and 2 eps, combined. The error is eps⁴/30 of the fifth
    /// derivative.
    FivePoint,
}

impl fmt::Display for Scheme {
    /// Writes the name that JSON and the flags use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Central, Self::FivePoint];

    /// Returns the power of eps with which the truncation error falls.
    pub fn order(self) -> i32 {
        match self {
            Self::Forward => 1,
            Self::Central => 2,
            Self::FivePoint => 4,
        }
    }

    /// Returns the points at which the loss is evaluated, in steps from x.
    pub fn offsets(self) -> &'static [f64] {
        match self {
            Self::Forward => &[1.0, 0.0],
            Self::Central => &[1.0, -1.0],
            Self::FivePoint => &[2.0, 1.0, -1.0, -2.0],
        }
    }

    /// Returns the coefficient of the loss at each offset.
    ///
    /// The coefficients sum to 0, so a constant has derivative 0.
    /// sum_o `coefficients[o]`·`offsets[o]` = 1, so a line is differentiated exactly.
    pub fn coefficients(self) -> &'static [f64] {
        match self {
            Self::Forward => &[1.0, -1.0],
            Self::Central => &[0.5, -0.5],
            Self::FivePoint => &[-1.0 / 12.0, 8.0 / 12.0, -8.0 / 12.0, 1.0 / 12.0],
        }
    }

    /// Returns the (offset, coefficient) pairs that `method` evaluates.
    ///
    /// `difference` skips offset 0: the difference between the loss there and itself is 0.
    pub fn terms(self, method: Method) -> impl Iterator<Item = (f64, f64)> + use<> {
        let offsets = self.offsets().iter().copied();
        let terms = offsets.zip(self.coefficients().iter().copied());
        terms.filter(move |(offset, _)| method == Method::ForwardPass || *offset != 0.0)
    }

    /// Returns the default step, where `scale` is the largest |dz/dx|: the largest |weight| for
    /// the input, 1 for the logits.
    ///
    /// The step is a power of two, so x ± eps rounds as little as possible.
    ///
    /// `difference` has no rounding floor that grows as eps shrinks. Its truncation error, about
    /// (eps·scale)^order relative to the terms of the gradient, is set two bits below the working
    /// precision: eps·scale = 2^-13 for central differences in f32, 2^-27 in f64. `forward-pass`
    /// balances truncation h^order against rounding u/h at h = u^(1/(order + 1)): 2^-8 and 2^-18.
    pub fn auto_eps(self, method: Method, precision: Precision, scale: f64) -> f64 {
        let bits = match precision {
            Precision::F32 => 24,
            Precision::F64 => 53,
        };
        let exponent = match method {
            Method::Difference => -(bits + 2) / self.order(),
            Method::ForwardPass => -(bits + 1) / (self.order() + 1),
        };
        let scale_exponent = if scale > 0.0 {
            scale.log2().ceil() as i32
        } else {
            0
        };
        // Both x ± eps and 1/eps stay representable in f32, whatever the weights.
        2f64.powi((exponent - scale_exponent).clamp(-100, 100))
    }

    /// Returns the derivative from `losses[o]` at `points[o]`.
    ///
    /// Takes points rather than eps because x + offset·eps is rounded: the loss was evaluated at
    /// the rounded point. Returns 0 if no point moved after rounding, as would a loop that divides
    /// by 2·eps.
    pub fn derivative(
        self,
        losses: impl Iterator<Item = f64>,
        points: impl Iterator<Item = f64>,
    ) -> f64 {
        let rise = self.weigh(losses);
        let run = self.weigh(points);
        if run == 0.0 { 0.0 } else { rise / run }
    }

    /// Returns sum_o `coefficients[o]`·`values[o]`.
    fn weigh(self, values: impl Iterator<Item = f64>) -> f64 {
        let terms = self.coefficients().iter().zip(values);
        terms.map(|(c, v)| c * v).sum()
    }

    /// Returns the largest error in the derivative, in units of e/eps, if each loss is off by at
    /// most e.
    pub fn amplification(self) -> f64 {
        self.coefficients().iter().map(|c| c.abs()).sum()
    }

    /// Returns a bound on the truncation error relative to S, the sum of magnitudes of a
    /// gradient's terms, where `reach` is eps times the range of `dz[c]`/dx over the classes c.
    ///
    /// 1. Along x the derivatives of the loss are the cumulants of w = dz/dx under the softmax.
    /// 2. Let D be the mean absolute deviation of w: D <= 2 sum_c `p[c]` |`w[c]`| <= 2 S. The
    ///    second derivative is at most range·D, the third range²·D, and the fifth,
    ///    m5 - 10 m3 m2 with m2 <= range²/4, at most 3.5·range⁴·D.
    /// 3. Within one step p grows by a factor of at most exp(2·reach), within two by its square.
    /// 4. The schemes' errors are eps/2, eps²/6 and eps⁴/30 of these derivatives.
    pub fn truncation(self, reach: f64) -> f64 {
        match self {
            Self::Forward => reach * (2.0 * reach).exp(),
            Self::Central => reach * reach / 3.0 * (2.0 * reach).exp(),
            Self::FivePoint => reach.powi(4) / 4.0 * (4.0 * reach).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_flags() {
        assert_eq!(Method::ForwardPass.to_string(), "forward-pass");
        assert_eq!(format!("{:>5}", Precision::F32), "  f32");
        assert_eq!(Dtype::BF16.to_string(), "bf16");
    }

    #[test]
    fn polynomials_up_to_the_order_are_differentiated_exactly() {
        for scheme in Scheme::ALL {
            for power in 0..=scheme.order() {
                let (x, eps) = (1.5f64, 0.25);
                let points: Vec<f64> = scheme
                    .offsets()
                    .iter()
                    .map(|offset| x + offset * eps)
                    .collect();
                let losses = points.iter().map(|x| x.powi(power));
                let found = scheme.derivative(losses, points.iter().copied());
                let exact = f64::from(power) * x.powi(power - 1);
                assert!(
                    (found - exact).abs() < 1e-12,
                    "{scheme} x^{power}: {found} {exact}"
                );
                let terms = scheme
                    .terms(Method::Difference)
                    .map(|(offset, coefficient)| {
                        let step = offset * eps;
                        let quotient = ((x + step).powi(power) - x.powi(power)) / step;
                        offset * coefficient * quotient
                    });
                let found: f64 = terms.sum();
                assert!((found - exact).abs() < 1e-12, "{scheme} x^{power}");
            }
        }
    }

    #[test]
    fn a_step_that_rounds_away_gives_zero_and_not_nan() {
        assert_eq!(
            Scheme::Central.derivative([1.0, 1.0].into_iter(), [2.0, 2.0].into_iter()),
            0.0
        );
    }

    #[test]
    fn auto_eps_is_a_power_of_two_scaled_by_the_weights() {
        let eps = |scale| Scheme::Central.auto_eps(Method::Difference, Precision::F32, scale);
        assert_eq!(eps(1.0), 2f64.powi(-13));
        assert_eq!(eps(0.05), 2f64.powi(-9));
        assert_eq!(eps(0.0), 2f64.powi(-13));
        assert!(eps(1e300) > 0.0 && eps(1e-300).is_finite());
        assert_eq!(
            Scheme::Forward.auto_eps(Method::ForwardPass, Precision::F64, 1.0),
            2f64.powi(-27)
        );
        assert_eq!(
            Scheme::FivePoint.auto_eps(Method::Difference, Precision::F64, 1.0),
            2f64.powi(-13)
        );
    }
}
