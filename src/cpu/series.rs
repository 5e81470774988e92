//! `log1p(step·v) / step` and `v / (1 + step·g)` for small steps, by series that run in vector
//! instructions.
//!
//! 1. With x = step·v, `log1p(x) / step = v (1 - x/2 + x²/3 - x³/4 + ...)`, and with x = step·g,
//!    `v / (1 + x) = v (1 - x + x² - x³ + ...)`: the Mercator and the geometric series.
//! 2. The terms shrink at least as fast as the powers of x. If the first omitted term is at most a
//!    third of a machine epsilon, the result is as accurate as that of the library's function.
//! 3. Each formula subtracts a multiple of v from v, so nothing underflows before the result does.
//! 4. The number of terms is known for a whole table ([`Growths`](super::difference::Growths)), or
//!    is decided for each vector. It is a const generic, because a rare call of the library's
//!    function would keep the vectors of the common case out of the registers.

use crate::tensor::Real;

/// Marker for a number of terms that is decided per vector: four if every value is small enough,
/// otherwise the functions of the library.
pub(super) const ANY: usize = 0;

/// Returns the largest |x| for which two terms of both series are exact. Derived: at x =
/// sqrt(epsilon) the third term of log1p is a third of an epsilon. [`divided_by_growth`] gets at
/// most half of that x, where its third term, x², is a quarter of an epsilon.
pub(super) fn two_terms<T: Real>() -> T {
    T::epsilon().sqrt()
}

/// Returns the largest |x| for which four terms of both series are exact. Derived: at
/// x = epsilon^(1/4) / 2 the fifth term, at most x⁴, is a sixteenth of an epsilon.
#[inline(always)]
pub(super) fn four_terms<T: Real>() -> T {
    T::epsilon().sqrt().sqrt() * T::of(0.5)
}

/// Returns true if four terms are exact for every value. Visits all values, because a search that
/// ends early does not run in vector instructions.
#[inline(always)]
fn are_small<T: Real, const N: usize>(values: &[T; N], step: T) -> bool {
    let is_small = |v: &T| (step * *v).abs() <= four_terms();
    values.iter().fold(true, |all, v| all & is_small(v))
}

/// Returns values / (1 + step·growth), by `TERMS` terms of the series.
#[inline(always)]
pub(super) fn divided_by_growth<T: Real, const TERMS: usize, const N: usize>(
    mut values: [T; N],
    growth: [T; N],
    step: T,
) -> [T; N] {
    let one = T::one();
    if TERMS == 2 {
        for (v, growth) in values.iter_mut().zip(growth) {
            *v = *v - *v * (step * growth);
        }
    } else if TERMS == 4 || are_small(&growth, step) {
        for (v, growth) in values.iter_mut().zip(growth) {
            let x = step * growth;
            *v = *v - *v * (x * (one - x * (one - x)));
        }
    } else {
        for (v, growth) in values.iter_mut().zip(growth) {
            *v = *v / (one + step * growth);
        }
    }
    values
}

/// Returns log1p(step·v) / step for every value v, by `TERMS` terms of the series.
#[inline(always)]
pub(super) fn log1p_per_step<T: Real, const TERMS: usize, const N: usize>(
    mut values: [T; N],
    step: T,
) -> [T; N] {
    let (half, third, quarter) = (T::of(0.5), T::of(1.0 / 3.0), T::of(0.25));
    // Loops, because `array::map` is not inlined into vector code.
    if TERMS == 2 {
        for v in &mut values {
            *v = *v - *v * (half * step * *v);
        }
    } else if TERMS == 4 || are_small(&values, step) {
        for v in &mut values {
            let x = step * *v;
            *v = *v - *v * x * (half - x * (third - x * quarter));
        }
    } else {
        return logarithms(values, step);
    }
    values
}

/// Returns log1p(step·v) / step by the function of the library. Not inlined: its calls would keep
/// the vectors of the series out of the registers.
#[cold]
#[inline(never)]
fn logarithms<T: Real, const N: usize>(values: [T; N], step: T) -> [T; N] {
    values.map(|v| (step * v).ln_1p() / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_equals_log1p() {
        for i in -1000..=1000 {
            let check = |[v]: [f64; 1], x: f64| {
                let error = 0.25 * v - (0.25 * x).ln_1p();
                assert!(error.abs() <= f64::EPSILON * x.abs(), "{x} {error:e}");
            };
            let x = 4.0 * two_terms::<f64>() * f64::from(i) / 1000.0;
            check(log1p_per_step::<f64, 2, 1>([x], 0.25), x);
            let x = 4.0 * four_terms::<f64>() * f64::from(i) / 1000.0;
            check(log1p_per_step::<f64, 4, 1>([x], 0.25), x);
            check(log1p_per_step::<f64, ANY, 1>([x], 0.25), x);
        }
    }
}
