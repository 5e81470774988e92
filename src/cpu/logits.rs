//! z = x·Wᵀ + b, and beside each logit a measure of what rounding may have done to it.

use crate::{
    cpu::{LANES, matmul::tile, pairwise, simd},
    tensor::Real,
};

/// A sum of d products that runs one after the other, as in the inner loop of a matrix product, drifts by about
/// sqrt(d) roundings of its partial sums; 4 standard deviations of uniform roundings are 2.4 u, a quarter of which
/// stands here because [`RoundingModel::LOGITS`](crate::plan::RoundingModel::LOGITS) multiplies it.
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
    let (rows, k) = (input.len() / d, bias.len());
    let (mut logits, mut magnitude) = (vec![T::zero(); rows * k], vec![T::zero(); rows * k]);
    let drift = T::of(DRIFT * (d.min(CHAIN) as f64).sqrt());
    simd(
        #[inline(always)]
        || {
            // What is read of the weight serves all rows before the next is; of two rows at a time an odd one is taken twice.
            let classes = (PANEL / d).max(1);
            for (panel, (weight, bias)) in weight
                .chunks(classes * d)
                .zip(bias.chunks(classes))
                .enumerate()
            {
                for first in (0..rows).step_by(2) {
                    let second = (first + 1).min(rows - 1);
                    let (x, y) = (&input[first * d..][..d], &input[second * d..][..d]);
                    for (c, (class, &bias)) in weight.chunks_exact(d).zip(bias).enumerate() {
                        let (dot_x, dot_y) = dots(x, y, class);
                        for (row, (sum, sum_abs, squares)) in [(first, dot_x), (second, dot_y)] {
                            let partial = larger(sum.abs(), squares.sqrt());
                            let entry = row * k + panel * classes + c;
                            logits[entry] = sum + bias;
                            magnitude[entry] = larger(sum_abs, drift * partial) + bias.abs();
                        }
                    }
                }
            }
        },
    );
    Logits { logits, magnitude }
}

/// Elements of the weight that stay in the second-level cache: 512 KiB in f64.
const PANEL: usize = 1 << 16;

#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// Sums in lanes: of x·w, |x·w| and (x·w)².
#[derive(Clone, Copy)]
struct Sums<T> {
    products: [T; LANES],
    magnitudes: [T; LANES],
    squares: [T; LANES],
}

impl<T: Real> Sums<T> {
    #[inline(always)]
    fn new() -> Self {
        let zeros = [T::zero(); LANES];
        Self {
            products: zeros,
            magnitudes: zeros,
            squares: zeros,
        }
    }

    #[inline(always)]
    fn add(&mut self, x: &[T; LANES], w: &[T; LANES]) {
        for lane in 0..LANES {
            let product = x[lane] * w[lane];
            self.products[lane] += product;
            self.magnitudes[lane] += product.abs();
            self.squares[lane] = product.mul_add(product, self.squares[lane]);
        }
    }

    #[inline(always)]
    fn total(&self) -> (T, T, T) {
        (
            pairwise(self.products),
            pairwise(self.magnitudes),
            pairwise(self.squares),
        )
    }
}

/// The sums of x·w, |x·w| and (x·w)², and those of y.
#[inline(always)]
fn dots<T: Real>(x: &[T], y: &[T], w: &[T]) -> ((T, T, T), (T, T, T)) {
    let (mut of_x, mut of_y) = (Sums::new(), Sums::new());
    let (xs, x) = x.as_chunks::<LANES>();
    let (ys, y) = y.as_chunks::<LANES>();
    let (ws, w) = w.as_chunks::<LANES>();
    for ((x, y), w) in xs.iter().zip(ys).zip(ws) {
        of_x.add(x, w);
        of_y.add(y, w);
    }
    if !w.is_empty() {
        let w = tile(w, 0);
        of_x.add(&tile(x, 0), &w);
        of_y.add(&tile(y, 0), &w);
    }
    (of_x.total(), of_y.total())
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
