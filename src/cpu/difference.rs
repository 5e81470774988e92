//! The loss difference (l(z + δ) - l(z)) / step, δ = step·dz/dx, by an identity that cannot cancel.
//!
//! With p the softmax and y any class,
//!
//! ```text
//! logsumexp(z+δ) - logsumexp(z) - δ[y] = log sum_c p[c] exp(δ[c] - δ[y]) = log1p( sum_c (p - onehot(y))[c] expm1(δ[c]) / exp(δ[y]) )
//! ```
//!
//! because the p sum to 1; the rest of the loss, `R δ[y] - sum_c r[c] δ[c]`, is linear in the step. Nothing that is large is
//! subtracted: with y the target every term is of the size of the difference itself, in a saturated sample too. Where no
//! class stands out in the target, y is no class, and its terms are 0. The growth expm1(δ)/step stands in for expm1(δ), so
//! that neither the terms nor the result shrink with the step, and none of them underflows before the gradient itself does.

use crate::{
    cpu::{matmul::multiply, simd},
    loss::{NO_LABEL, Samples},
    tensor::Real,
};

/// expm1(step·slope) / step, [k, d]: how much the exponential of a logit grows for a step in x, where
/// `slopes` are dz/dx. Computed in f64: every engine starts from a correctly rounded table.
pub fn growth<T: Real>(slopes: &[f64], step: f64) -> Vec<T> {
    slopes
        .iter()
        .map(|slope| T::of((step * slope).exp_m1() / step))
        .collect()
}

/// Differences with respect to the input: takes `residual` (p - onehot(label)) [rows, k], `growth` [k, d] and, where
/// the samples have a linear part, its product with dz/dx [rows, d]; returns [rows, d].
pub fn difference<T: Real>(
    residual: &[T],
    growth: &[T],
    step: T,
    samples: &Samples<T>,
    linear: Option<&[T]>,
    d: usize,
) -> Vec<T> {
    let mut differences = vec![T::zero(); samples.labels.len() * d];
    simd(
        #[inline(always)]
        || {
            multiply(&mut differences, residual, growth, d);
            for (row, sums) in differences.chunks_exact_mut(d).enumerate() {
                let label = samples.labels[row];
                if label != NO_LABEL {
                    let at_label = &growth[label as usize * d..][..d];
                    divide_by_growth(sums, at_label, step);
                }
                log1p_per_step(sums, step);
                complete(
                    sums,
                    samples.totals[row],
                    linear.map(|linear| &linear[row * d..]),
                );
            }
        },
    );
    differences
}

/// Differences with respect to the logits, of which a step moves only one: takes `residual` [rows, k] and the
/// logits' own `growth`; returns [rows, k].
pub fn difference_logits<T: Real>(
    residual: &[T],
    growth: T,
    step: T,
    samples: &Samples<T>,
    k: usize,
) -> Vec<T> {
    let mut differences = residual.to_vec();
    for (row, sums) in differences.chunks_exact_mut(k).enumerate() {
        for (c, sum) in sums.iter_mut().enumerate() {
            let at_label = if c == samples.labels[row] as usize {
                T::one() + step * growth
            } else {
                T::one()
            };
            *sum = *sum * growth / at_label;
        }
        log1p_per_step(sums, step);
        complete(
            sums,
            samples.totals[row],
            samples.linear.as_ref().map(|linear| &linear[row * k..]),
        );
    }
    differences
}

/// R times the logarithm, and the part that is linear in the step.
#[inline(always)]
fn complete<T: Real>(sums: &mut [T], total: T, linear: Option<&[T]>) {
    for sum in sums.iter_mut() {
        *sum = *sum * total;
    }
    if let Some(linear) = linear {
        for (sum, &linear) in sums.iter_mut().zip(linear) {
            *sum += linear;
        }
    }
}

/// Below it four terms of the series of 1/(1 + x) and log1p are exact to f64, as the fifth is at most 2^-56 of the first; and they
/// run in vectors, without a division.
const SMALL: f64 = 1.0 / 16384.0;

/// Whether step·v is small for every value v: a count runs in vectors, a search that ends early does not.
#[inline(always)]
fn are_small<T: Real>(values: &[T], step: T) -> bool {
    let is_large = |v: &T| u32::from(!((step * *v).abs() < T::of(SMALL)));
    values.iter().map(is_large).sum::<u32>() == 0
}

/// Divides by 1 + step·growth.
#[inline(always)]
fn divide_by_growth<T: Real>(sums: &mut [T], growth: &[T], step: T) {
    if are_small(growth, step) {
        for (sum, &growth) in sums.iter_mut().zip(growth) {
            let x = step * growth;
            *sum = *sum - *sum * (x * (T::one() - x * (T::one() - x)));
        }
    } else {
        for (sum, &growth) in sums.iter_mut().zip(growth) {
            *sum = *sum / (T::one() + step * growth);
        }
    }
}

/// log1p(step·v) / step of every value v.
#[inline(always)]
pub(crate) fn log1p_per_step<T: Real>(values: &mut [T], step: T) {
    if are_small(values, step) {
        let (half, third, quarter) = (T::of(0.5), T::of(1.0 / 3.0), T::of(0.25));
        for v in values {
            let x = step * *v;
            *v = *v - *v * x * (half - x * (third - x * quarter));
        }
    } else {
        for v in values {
            *v = (step * *v).ln_1p() / step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f64; 3] = [0.3, -1.2, 2.0];
    const WEIGHT: [f64; 6] = [0.5, -0.25, 1.0, 0.0, 2.0, -1.5];

    fn loss(z: &[f64], r: &[f64]) -> f64 {
        let log = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        z.iter().zip(r).map(|(z, r)| r * (log - z)).sum()
    }

    /// Against the subtraction of two losses, for a target r that is given as the kernels take it.
    fn check(r: [f64; 3], label: u32) {
        let at = |c: usize| f64::from(u8::from(c == label as usize));
        let total: f64 = r.iter().sum();
        let linear: Vec<f64> = (0..3).map(|c| total * at(c) - r[c]).collect();
        let products = |i: usize| {
            linear
                .iter()
                .enumerate()
                .map(|(c, l)| l * WEIGHT[c * 2 + i])
                .sum::<f64>()
        };
        let by_input = [products(0), products(1)];
        let samples = Samples {
            labels: vec![label],
            totals: vec![total],
            linear: Some(linear),
        };
        let sum: f64 = Z.iter().map(|z| z.exp()).sum();
        let residual: Vec<f64> = (0..3).map(|c| Z[c].exp() / sum - at(c)).collect();
        for step in [0.5f64, -0.01] {
            let table: Vec<f64> = growth(&WEIGHT, step);
            let differences = difference(&residual, &table, step, &samples, Some(&by_input), 2);
            for i in 0..2 {
                let moved: Vec<f64> = (0..3).map(|c| Z[c] + step * WEIGHT[c * 2 + i]).collect();
                let expected = loss(&moved, &r) - loss(&Z, &r);
                assert!(
                    (step * differences[i] - expected).abs() < 2e-15,
                    "{r:?} {step} {i}"
                );
            }
            let differences = difference_logits(&residual, step.exp_m1() / step, step, &samples, 3);
            for c in 0..3 {
                let mut moved = Z;
                moved[c] += step;
                let expected = loss(&moved, &r) - loss(&Z, &r);
                assert!(
                    (step * differences[c] - expected).abs() < 2e-15,
                    "{r:?} {step} {c}"
                );
            }
        }
    }

    #[test]
    fn equals_the_subtraction_of_two_losses() {
        check([0.0, 1.0, 0.0], 1);
        check([0.1, 0.0, 2.5], 2);
        check([0.4, 0.3, 0.3], NO_LABEL);
        check([0.0, 0.0, 0.0], NO_LABEL);
    }

    #[test]
    fn the_series_equals_log1p() {
        let arguments: Vec<f64> = (-1000..=1000).map(|i| f64::from(i) * 6.1e-8).collect();
        let mut values = arguments.clone();
        log1p_per_step(&mut values, 0.25);
        for (v, x) in values.iter().zip(arguments) {
            assert!(
                (0.25 * v - (0.25 * x).ln_1p()).abs() <= 2.0 * f64::EPSILON * x.abs(),
                "{x}"
            );
        }
    }
}
