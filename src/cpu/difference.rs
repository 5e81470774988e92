//! The loss difference l(z + δ) - l(z) by an identity that cannot cancel.
//!
//! With p the softmax and y the target class,
//! l(z+δ) - l(z) = log sum_c p[c] exp(δ[c]) - δ[y] = log1p( sum_c (p - y)[c] expm1(δ[c]) / exp(δ[y]) ),
//! because sum_c p[c] = 1. Nothing that is large is subtracted: every term is of the size of the difference itself,
//! in a saturated sample too.

use crate::{
    cpu::{matmul::accumulate, simd},
    tensor::Real,
};

/// Differences with respect to the input: takes `residual` (p - y) [rows, k], `table` expm1(step·W) [k, d] and
/// `target` [rows]; returns [rows, d].
pub fn difference<T: Real>(residual: &[T], table: &[T], target: &[u32], d: usize) -> Vec<T> {
    let k = table.len() / d;
    let mut differences = vec![T::zero(); target.len() * d];
    simd(
        #[inline(always)]
        || {
            for ((sums, residual), &class) in differences
                .chunks_exact_mut(d)
                .zip(residual.chunks_exact(k))
                .zip(target)
            {
                accumulate(sums, residual, table);
                let at_target = &table[class as usize * d..][..d];
                for (sum, &expm1) in sums.iter_mut().zip(at_target) {
                    *sum = *sum / (T::one() + expm1);
                }
                ln_1p(sums);
            }
        },
    );
    differences
}

/// Differences with respect to the logits: takes `residual` [rows, k]; returns [rows, k].
pub fn difference_logits<T: Real>(residual: &[T], step: T, target: &[u32], k: usize) -> Vec<T> {
    let expm1 = step.exp_m1();
    let mut differences = residual.to_vec();
    for (row, &class) in differences.chunks_exact_mut(k).zip(target) {
        for (c, difference) in row.iter_mut().enumerate() {
            let at_target = if c == class as usize {
                T::one() + expm1
            } else {
                T::one()
            };
            *difference = *difference * expm1 / at_target;
        }
        ln_1p(row);
    }
    differences
}

/// log1p of every value. Small steps leave small arguments: below 2^-14 four terms of the series are
/// exact to f64 (the fifth is at most 2^-56/5 of the first), and they run in vectors.
#[inline(always)]
fn ln_1p<T: Real>(values: &mut [T]) {
    let small = T::of(2f64.powi(-14));
    if values.iter().all(|v| v.abs() < small) {
        let (half, third, quarter) = (T::of(0.5), T::of(1.0 / 3.0), T::of(0.25));
        for v in values {
            *v = *v - *v * *v * (half - *v * (third - *v * quarter));
        }
    } else {
        for v in values {
            *v = v.ln_1p();
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
                let table: Vec<f64> = weight.iter().map(|w| (step * w).exp_m1()).collect();
                let differences = difference(&residual, &table, &[class as u32], 2);
                for i in 0..2 {
                    let moved: Vec<f64> = (0..3).map(|c| z[c] + step * weight[c * 2 + i]).collect();
                    assert!(
                        (differences[i] - (loss(&moved, class) - loss(&z, class))).abs() < 1e-15
                    );
                }
                let differences = difference_logits(&residual, step, &[class as u32], 3);
                for c in 0..3 {
                    let mut moved = z;
                    moved[c] += step;
                    assert!(
                        (differences[c] - (loss(&moved, class) - loss(&z, class))).abs() < 1e-15
                    );
                }
            }
        }
    }

    #[test]
    fn the_series_equals_log1p() {
        let arguments: Vec<f64> = (-1000..=1000).map(|i| f64::from(i) * 6.1e-8).collect();
        let mut values = arguments.clone();
        ln_1p(&mut values);
        for (v, x) in values.iter().zip(arguments) {
            assert!((v - x.ln_1p()).abs() <= 2.0 * f64::EPSILON * x.abs(), "{x}");
        }
    }
}
