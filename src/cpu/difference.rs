//! The loss difference (l(z + δ) - l(z)) / step, δ = step·dz/dx, by an identity that cannot cancel.
//!
//! With p the softmax and y the target class,
//!
//! ```text
//! l(z+δ) - l(z) = log sum_c p[c] exp(δ[c]) - δ[y] = log1p( sum_c (p - onehot(y))[c] expm1(δ[c]) / exp(δ[y]) ),
//! ```
//!
//! because the p sum to 1. Nothing that is large is subtracted: every term is of the size of the difference itself,
//! in a saturated sample too. The growth expm1(δ)/step stands in for expm1(δ), so that neither the terms nor the
//! result shrink with the step, and none of them underflows before the gradient itself does.

use crate::{
    cpu::{matmul::accumulate, simd},
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

/// Differences with respect to the input: takes `residual` (p - y) [rows, k], `growth` [k, d] and `target`
/// `[rows]`; returns [rows, d].
pub fn difference<T: Real>(
    residual: &[T],
    growth: &[T],
    step: T,
    target: &[u32],
    d: usize,
) -> Vec<T> {
    let k = growth.len() / d;
    let mut differences = vec![T::zero(); target.len() * d];
    simd(
        #[inline(always)]
        || {
            let rows = differences
                .chunks_exact_mut(d)
                .zip(residual.chunks_exact(k));
            for ((sums, residual), &class) in rows.zip(target) {
                accumulate(sums, residual, growth);
                let at_target = &growth[class as usize * d..][..d];
                for (sum, &growth) in sums.iter_mut().zip(at_target) {
                    *sum = *sum / (T::one() + step * growth);
                }
                log1p_per_step(sums, step);
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
    target: &[u32],
    k: usize,
) -> Vec<T> {
    let mut differences = residual.to_vec();
    for (row, &class) in differences.chunks_exact_mut(k).zip(target) {
        for (c, difference) in row.iter_mut().enumerate() {
            let at_target = if c == class as usize {
                T::one() + step * growth
            } else {
                T::one()
            };
            *difference = *difference * growth / at_target;
        }
        log1p_per_step(row, step);
    }
    differences
}

/// log1p(step·v) / step of every value v. Small steps leave small arguments: below 2^-14 four terms of the series
/// are exact to f64 (the fifth is at most 2^-56/5 of the first), and they run in vectors.
#[inline(always)]
fn log1p_per_step<T: Real>(values: &mut [T], step: T) {
    let small = T::of(2f64.powi(-14));
    if values.iter().all(|&v| (step * v).abs() < small) {
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

    fn loss(z: &[f64], class: usize) -> f64 {
        z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[class]
    }

    #[test]
    fn equals_the_subtraction_of_two_losses() {
        let (z, weight) = ([0.3, -1.2, 2.0], [0.5, -0.25, 1.0, 0.0, 2.0, -1.5]);
        let sum: f64 = z.iter().map(|z: &f64| z.exp()).sum();
        for class in 0..3 {
            let residual: Vec<f64> = z
                .iter()
                .enumerate()
                .map(|(c, z)| z.exp() / sum - f64::from(u8::from(c == class)))
                .collect();
            for step in [0.5f64, -0.01] {
                let growth: Vec<f64> = growth(&weight, step);
                let differences = difference(&residual, &growth, step, &[class as u32], 2);
                for i in 0..2 {
                    let moved: Vec<f64> = (0..3).map(|c| z[c] + step * weight[c * 2 + i]).collect();
                    assert!(
                        (step * differences[i] - (loss(&moved, class) - loss(&z, class))).abs()
                            < 1e-15
                    );
                }
                let differences =
                    difference_logits(&residual, step.exp_m1() / step, step, &[class as u32], 3);
                for c in 0..3 {
                    let mut moved = z;
                    moved[c] += step;
                    assert!(
                        (step * differences[c] - (loss(&moved, class) - loss(&z, class))).abs()
                            < 1e-15
                    );
                }
            }
        }
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
