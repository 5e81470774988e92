//! z = x·Wᵀ + b, and beside each logit the sum of magnitudes that it was made of.

use crate::{cpu::simd, tensor::Real};

/// Partial sums that run side by side: two vectors of AVX-512 in f64. They also shorten the chain of additions,
/// and with it the rounding error, 16 times.
const LANES: usize = 16;

/// The forward pass of a block of rows; both [rows, k].
pub struct Logits<T> {
    /// z.
    pub logits: Vec<T>,
    /// |x|·|W|ᵀ + |b|: what rounding in z is relative to.
    pub magnitude: Vec<T>,
}

/// Takes `input` [rows, d], `weight` [k, d] and `bias` `[k]`.
pub fn logits<T: Real>(input: &[T], weight: &[T], bias: &[T], d: usize) -> Logits<T> {
    let entries = input.len() / d * bias.len();
    let (mut logits, mut magnitude) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
    simd(
        #[inline(always)]
        || {
            for row in input.chunks_exact(d) {
                for (class, &bias) in weight.chunks_exact(d).zip(bias) {
                    let (sum, sum_abs) = dot(row, class);
                    logits.push(sum + bias);
                    magnitude.push(sum_abs + bias.abs());
                }
            }
        },
    );
    Logits { logits, magnitude }
}

/// sum x·w and sum |x·w|.
#[inline(always)]
fn dot<T: Real>(x: &[T], w: &[T]) -> (T, T) {
    let (mut sums, mut sums_abs) = ([T::zero(); LANES], [T::zero(); LANES]);
    let (x_chunks, w_chunks) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
    let rest = x_chunks.remainder().iter().zip(w_chunks.remainder());
    for (x, w) in x_chunks.zip(w_chunks) {
        for lane in 0..LANES {
            let product = x[lane] * w[lane];
            sums[lane] += product;
            sums_abs[lane] += product.abs();
        }
    }
    for (lane, (&x, &w)) in rest.enumerate() {
        sums[lane] += x * w;
        sums_abs[lane] += (x * w).abs();
    }
    (pairwise(sums), pairwise(sums_abs))
}

#[inline(always)]
fn pairwise<T: Real>(mut sums: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            let other = sums[lane + half];
            sums[lane] += other;
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_written_out() {
        for d in [1, 3, 16, 17, 50] {
            let input: Vec<f64> = (0..2 * d).map(|i| (i as f64 * 0.7).sin()).collect();
            let weight: Vec<f64> = (0..3 * d).map(|i| (i as f64 * 1.3).cos()).collect();
            let bias = [0.5, -1.0, 0.0];
            let Logits { logits, magnitude } = logits(&input, &weight, &bias, d);
            for j in 0..2 {
                for c in 0..3 {
                    let products = || (0..d).map(|i| input[j * d + i] * weight[c * d + i]);
                    assert!(
                        (logits[j * 3 + c] - products().sum::<f64>() - bias[c]).abs()
                            < 1e-14 * d as f64
                    );
                    let sum_abs = products().map(f64::abs).sum::<f64>() + bias[c].abs();
                    assert!((magnitude[j * 3 + c] - sum_abs).abs() < 1e-14 * d as f64);
                }
            }
        }
    }
}
