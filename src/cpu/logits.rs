//! Logits z = x·Wᵀ + b of a block of rows, [rows, k], and for each logit the magnitude A of its
//! rounding error:
//!
//! ```text
//! z[j,c] = sum_i x[j,i] W[c,i] + b[c]
//! A[j,c] = max(sum_i |t[i]|, drift · max(|sum_i t[i]|, sqrt(sum_i t[i]²), |b[c]|)) + |b[c]|
//! t[i] = x[j,i] W[c,i]
//! ```
//!
//! Another correct program may add the terms in another order. Its error is at most about
//! [`RoundingModel::LOGITS`](crate::rounding::RoundingModel::LOGITS)·u·A.

use std::hint::black_box;

use crate::{
    cpu::{
        lanes::{LANES, larger, pairwise, simd},
        matmul::tile,
    },
    tensor::Real,
};

/// Drift of a sum of d products, in units of sqrt(d)·u times its largest partial sum. Derived: a
/// matrix product adds the terms one after the other, and each addition rounds. 4 standard
/// deviations of uniform roundings are 2.4 u. The constant is a quarter of that, because
/// [`RoundingModel::LOGITS`](crate::rounding::RoundingModel::LOGITS), 4, multiplies it.
const DRIFT: f64 = 0.6;

/// Largest number of products that drift together. The matrix products of the well-known libraries
/// begin a new sum after 256 to 384 products. Chosen above that.
const CHAIN: usize = 512;

/// Elements of a panel of the weight: 512 KiB of f64, which stay in the second-level cache. Chosen.
const PANEL: usize = 1 << 16;

/// Result of [`logits`].
pub struct Logits<T> {
    /// The logits z, [rows, k].
    pub logits: Vec<T>,
    /// The magnitudes A, [rows, k].
    pub magnitude: Vec<T>,
}

/// Returns given logits [rows, k]. Nothing was summed, so the magnitude of each is its own.
pub fn given<T: Real>(logits: &[T]) -> Logits<T> {
    Logits {
        logits: logits.to_vec(),
        magnitude: logits.iter().map(|z| z.abs()).collect(),
    }
}

/// Computes the logits of `input` [rows, d] under `weight` [k, d] and `bias` `[k]`.
///
/// 1. Each product x·W is added to one of 16 partial sums. These stay in vector registers, and
///    their rounding error is smaller than that of one long sum, which A bounds.
/// 2. The same loop adds up |x·W| and (x·W)² for A. The largest partial sum of a sum in order is
///    about as large as the result, or as the root of the sum of squares if the terms have random
///    signs. A program may also begin with the bias.
/// 3. Two rows run side by side, so that each load of the weight serves both. If the number of rows
///    is odd, the last row is computed twice.
/// 4. All rows use a panel of classes before the next panel is read, so that the panel stays in the
///    cache.
pub fn logits<T: Real>(input: &[T], weight: &[T], bias: &[T], d: usize) -> Logits<T> {
    let (rows, k) = (input.len() / d, bias.len());
    let (mut logits, mut magnitude) = (vec![T::zero(); rows * k], vec![T::zero(); rows * k]);
    let drift = T::of(DRIFT * (d.min(CHAIN) as f64).sqrt());
    simd(
        #[inline(always)]
        || {
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
                            let partial = larger(larger(sum.abs(), squares.sqrt()), bias.abs());
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

/// Partial sums of x·w, |x·w| and (x·w)².
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

/// Returns the sums of x·w, |x·w| and (x·w)², and those of y·w.
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
    // The compiler must not see how the lanes are added up: it would arrange the lanes of the loop
    // for that addition, which takes twice as long.
    let (of_x, of_y) = black_box((of_x, of_y));
    (of_x.total(), of_y.total())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_formulas_of_the_module() {
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
                    let drift = 0.6 * (d as f64).sqrt() * z.abs().max(root).max(bias[c].abs());
                    let expected =
                        products.iter().map(|p| p.abs()).sum::<f64>().max(drift) + bias[c].abs();
                    assert!((magnitude[j * 3 + c] - expected).abs() < 1e-14 * d as f64);
                }
            }
        }
    }
}
