//! z = x·Wᵀ + b, and beside each logit a measure of what rounding may have done to it.

use crate::{
    cpu::{LANES, pairwise, simd},
    tensor::Real,
};

/// A sum of d products that runs one after the other, as in the inner loop of a matrix product, drifts by about
/// sqrt(d) roundings of its partial sums; 4 standard deviations of uniform roundings are 2.4 u, a quarter of which
/// stands here because [`Law::LOGITS`](crate::plan::Law::LOGITS) multiplies it.
const DRIFT: f64 = 0.6;

/// Products that a matrix product adds up before it begins a new sum, 256 to 384 in the well-known libraries.
const CHAIN: usize = 512;

/// The forward pass of a block of rows; both [rows, k].
pub struct Logits<T> {
    /// z.
    pub logits: Vec<T>,
    /// The larger of the sum of magnitudes, `|x||W|ᵀ + |b|`, and of the drift of a sum in order, of which the
    /// partial sums are as large as the result or as the root of the sum of squares of the terms.
    pub magnitude: Vec<T>,
}

/// Takes `input` [rows, d], `weight` [k, d] and `bias` `[k]`.
pub fn logits<T: Real>(input: &[T], weight: &[T], bias: &[T], d: usize) -> Logits<T> {
    let entries = input.len() / d * bias.len();
    let (mut logits, mut magnitude) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
    let drift = T::of(DRIFT * (d.min(CHAIN) as f64).sqrt());
    simd(
        #[inline(always)]
        || {
            for row in input.chunks_exact(d) {
                for (class, &bias) in weight.chunks_exact(d).zip(bias) {
                    let (sum, sum_abs, sum_squares) = dot(row, class);
                    let partial = sum.abs().max(sum_squares.sqrt());
                    logits.push(sum + bias);
                    magnitude.push(sum_abs.max(drift * partial) + bias.abs());
                }
            }
        },
    );
    Logits { logits, magnitude }
}

/// sum x·w, sum |x·w| and sum (x·w)².
#[inline(always)]
fn dot<T: Real>(x: &[T], w: &[T]) -> (T, T, T) {
    let (mut sums, mut sums_abs, mut squares) =
        ([T::zero(); LANES], [T::zero(); LANES], [T::zero(); LANES]);
    let (x_chunks, w_chunks) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
    let rest = x_chunks.remainder().iter().zip(w_chunks.remainder());
    for (x, w) in x_chunks.zip(w_chunks) {
        for lane in 0..LANES {
            let product = x[lane] * w[lane];
            sums[lane] += product;
            sums_abs[lane] += product.abs();
            squares[lane] += product * product;
        }
    }
    for (lane, (&x, &w)) in rest.enumerate() {
        let product = x * w;
        sums[lane] += product;
        sums_abs[lane] += product.abs();
        squares[lane] += product * product;
    }
    (pairwise(sums), pairwise(sums_abs), pairwise(squares))
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
                    let products: Vec<f64> = (0..d)
                        .map(|i| input[j * d + i] * weight[c * d + i])
                        .collect();
                    let z: f64 = products.iter().sum();
                    assert!((logits[j * 3 + c] - z - bias[c]).abs() < 1e-14 * d as f64);
                    let root = products.iter().map(|p| p * p).sum::<f64>().sqrt();
                    let drift = 0.6 * (d as f64).sqrt() * z.abs().max(root);
                    let expected =
                        products.iter().map(|p| p.abs()).sum::<f64>().max(drift) + bias[c].abs();
                    assert!((magnitude[j * 3 + c] - expected).abs() < 1e-14 * d as f64);
                }
            }
        }
    }
}
