//! Loss differences with respect to the weight, [k, m], summed over the samples:
//!
//! ```text
//! sum_j (l[j](W[c,i] + step) - l[j](W[c,i])) / step
//! ```
//!
//! A step in `W[c,i]` moves only logit c of each sample j, by step·`x[j,i]`. The sum over classes
//! in the identity of [`difference`](super::difference) then has one term. With the growth g =
//! expm1(step·x)/step and y the label,
//!
//! ```text
//! (l[j](W[c,i] + step) - l[j](W[c,i])) / step = R log1p(step·q) / step + linear[c] x[j,i]
//! q = (p[c] - 1[c = y]) g / (1 + 1[c = y]·step·g)
//! ```
//!
//! The bias is the weight of an input that is 1.

use crate::{
    cpu::{
        difference::growth,
        lanes::simd,
        matmul::{TILE, tile},
        series::{ANY, log1p_per_step},
    },
    loss::TargetRows,
    tensor::Real,
};

/// Computes the derivative from `residual` (p - onehot(label)) [rows, k], `input` [rows, m] and the
/// steps of a scheme, each with the weight of its quotient. Returns the sum over the rows, [k, m].
///
/// 1. The growth of a sample depends on its input alone. It is computed once, in f64, for all
///    classes.
/// 2. The inner loop takes a tile of columns, so that division and series run in vector
///    instructions. Inputs have no common bound, so the loop decides for each tile if the series is
///    exact.
/// 3. Each sample's difference is as accurate as the identity, and is added to the sums in order.
pub fn difference_weight<T: Real>(
    residual: &[T],
    input: &[T],
    steps: &[(f64, f64)],
    targets: &TargetRows<T>,
    k: usize,
    m: usize,
) -> Vec<T> {
    let mut sums = vec![T::zero(); k * m];
    for (row, (residual, input)) in residual
        .chunks_exact(k)
        .zip(input.chunks_exact(m))
        .enumerate()
    {
        let slopes: Vec<f64> = input.iter().map(|x| x.f64()).collect();
        for &(step, weight) in steps {
            let growth: Vec<T> = growth(&slopes, step);
            let (step, weight) = (T::of(step), T::of(weight));
            let total = weight * targets.totals[row];
            simd(
                #[inline(always)]
                || {
                    for (c, sums) in sums.chunks_exact_mut(m).enumerate() {
                        let at_label = if targets.labels[row] == c as u32 {
                            T::one()
                        } else {
                            T::zero()
                        };
                        let linear = targets
                            .linear
                            .as_ref()
                            .map_or(T::zero(), |linear| weight * linear[row * k + c]);
                        for (start, sums) in (0..m).step_by(TILE).zip(sums.chunks_mut(TILE)) {
                            let mut terms = tile(&growth, start);
                            for term in &mut terms {
                                *term = residual[c] * *term / (T::one() + at_label * step * *term);
                            }
                            let logarithms = log1p_per_step::<T, ANY, TILE>(terms, step);
                            let x = tile(input, start);
                            for (i, sum) in sums.iter_mut().enumerate() {
                                *sum += total * logarithms[i] + linear * x[i];
                            }
                        }
                    }
                },
            );
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::NO_LABEL;

    #[test]
    fn equals_the_subtraction_of_two_losses() {
        let (z, x) = ([[0.3f64, -1.2], [2.0, 0.5]], [[0.5, -2.0], [1.5, 0.25]]);
        let r = [[1.0, 0.0], [0.25, 0.25]];
        let linear = vec![0.0, 0.0, -0.25, -0.25];
        let targets = TargetRows {
            labels: vec![0, NO_LABEL],
            totals: vec![1.0, 0.5],
            linear: Some(linear),
        };
        let loss = |j: usize, z: [f64; 2]| {
            let log = (z[0].exp() + z[1].exp()).ln();
            r[j][0] * (log - z[0]) + r[j][1] * (log - z[1])
        };
        let p = |j: usize, c: usize| z[j][c].exp() / (z[j][0].exp() + z[j][1].exp());
        let residual = [p(0, 0) - 1.0, p(0, 1), p(1, 0), p(1, 1)];
        for step in [0.25, -0.01] {
            let found =
                difference_weight(&residual, x.as_flattened(), &[(step, 1.0)], &targets, 2, 2);
            for c in 0..2 {
                for i in 0..2 {
                    let difference = |j: usize| {
                        let mut moved = z[j];
                        moved[c] += step * x[j][i];
                        loss(j, moved) - loss(j, z[j])
                    };
                    let expected = (difference(0) + difference(1)) / step;
                    assert!(
                        (found[c * 2 + i] - expected).abs() < 1e-13,
                        "{step} {c} {i}"
                    );
                }
            }
        }
    }
}
