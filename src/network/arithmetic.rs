//! The rounding of a program's arithmetic: the constants of the law of networks.

use crate::tensor::Dtype;

/// The arithmetic of a program that stores its values in one type.
///
/// Errors are in units of the unit roundoff u, as standard deviations: independent errors add in
/// quadrature. The constants are measured on 37,500 gradients of PyTorch's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arithmetic {
    /// u, the unit roundoff.
    pub(super) u: f64,
    /// The unit roundoff of sums, in units of u: 16-bit types are summed in f32.
    in_sums: f64,
    /// 1 if results are rounded once more when they are stored, as 16-bit types are.
    stored: f64,
    /// The error of the smallest numbers, in units of u.
    floor: f64,
    /// The rounding error of the operands of matrix products, in units of u: 0 if they are taken as
    /// they are.
    operands: f64,
    /// 1 if gradients are rounded to the type of the value, as under autocast.
    cast: f64,
}

/// The rounding of both operands of a product, per unit roundoff. With 1, two of 20,554 gradients
/// in TF32 were off by up to 1.4 times the allowed error.
const OPERANDS: f64 = 1.5;
/// The unit roundoff of TF32.
const TF32: f64 = 1.0 / (1 << 11) as f64;

impl Arithmetic {
    pub(super) fn of(dtype: Dtype) -> Self {
        // The check computes in f64 and rounds as much as a program in f64 does.
        let both = if dtype == Dtype::F64 { 2.0 } else { 1.0 };
        let u = both * dtype.unit_roundoff();
        let is_half = u > 1e-4;
        Self {
            u,
            in_sums: if is_half { 2f64.powi(-24) / u } else { 1.0 },
            stored: if is_half { 1.0 } else { 0.0 },
            floor: match dtype {
                // Its subnormal numbers are kept: half of the smallest is 2^-14 u.
                Dtype::F16 => 2f64.powi(-14),
                _ => (128.0 * dtype.smallest_kept()).max(1e-140) / u,
            },
            operands: 0.0,
            cast: 0.0,
        }
    }

    /// Returns the arithmetic of autocast, with matrix products in the type itself and some other
    /// functions in f32.
    pub(super) fn with_autocast(self) -> Self {
        Self {
            operands: self.operands.max(OPERANDS),
            cast: 1.0,
            ..self
        }
    }

    /// Returns the arithmetic whose matrix products round their operands to TF32.
    pub(super) fn with_tf32(self) -> Self {
        let operands = self.operands.max(OPERANDS * TF32 / self.u);
        Self { operands, ..self }
    }

    /// Returns the error of a gradient by a cast to the type of its value.
    pub(super) fn of_cast(&self, value: f64) -> f64 {
        self.cast * value.abs()
    }

    /// Returns the relative error of an operand of a matrix product.
    pub(super) fn of_operand(&self) -> f64 {
        self.operands
    }

    /// Returns the error of a sum of `terms` products whose magnitudes sum to `magnitude`.
    pub(super) fn of_sum(&self, terms: usize, magnitude: f64) -> f64 {
        self.in_sums * growth(terms) * magnitude
    }

    /// Returns the error of storing the result of a sum.
    pub(super) fn of_storing(&self, value: f64) -> f64 {
        self.stored * value.abs() + self.floor
    }

    /// Returns the error of an operation's result.
    pub(super) fn of_result(&self, value: f64) -> f64 {
        value.abs() + self.floor
    }

    /// The distance from a kink, in errors of the value, within which a program may be on the other
    /// side of it.
    const NEAR: f64 = 6.0;

    /// Returns the distance within which a program may be on the other side of a kink of a value
    /// with this error.
    pub(super) fn near(&self, error: f64) -> f64 {
        Self::NEAR * self.u * error
    }
}

impl Arithmetic {
    /// Returns the factor by which exp(z) may change more than in proportion to the error of z.
    pub(super) fn nonlinearity(&self, error: f64) -> f64 {
        // Beyond, every digit is lost.
        const MOST: f64 = 40.0;
        match self.near(error).min(MOST) {
            0.0 => 1.0,
            near => near.exp_m1() / near,
        }
    }
}

/// Returns the growth of rounding errors with the number of terms of a sum.
pub(super) fn growth(terms: usize) -> f64 {
    1.0 + (terms as f64).sqrt() / 4.0
}

/// Returns the sum in quadrature.
pub(super) fn quadrature<const N: usize>(errors: [f64; N]) -> f64 {
    norm(errors.into_iter())
}

/// Returns the square root of a sum of squares.
pub(super) fn norm(errors: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = errors
        .clone()
        .fold(0.0f64, |most, error| most.max(error.abs()));
    // Squares of small numbers vanish, and with them the tolerance.
    if most == 0.0 || !most.is_finite() {
        return most;
    }
    most * errors
        .map(|error| (error / most).powi(2))
        .sum::<f64>()
        .sqrt()
}
