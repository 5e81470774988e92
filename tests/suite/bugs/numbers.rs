//! Random draws and small vector arithmetic.

use gradprobe::tensor::Dtype;
use rand::{RngExt, rngs::ChaCha8Rng, seq::SliceRandom};
use rand_distr::StandardNormal;

use crate::framework::round;

pub(crate) type Rng = ChaCha8Rng;

/// Draws a number whose logarithm is uniform.
pub(crate) fn log_uniform(rng: &mut Rng, low: f64, high: f64) -> f64 {
    rng.random_range(low.ln()..high.ln()).exp()
}

/// Draws one of the values.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.random_range(0..values.len())]
}

/// Draws a standard normal number.
pub(crate) fn gauss(rng: &mut Rng) -> f64 {
    rng.sample(StandardNormal)
}

/// Draws normal numbers of standard deviation `scale`, rounded to `dtype`.
pub(crate) fn normal(rng: &mut Rng, dtype: Dtype, count: usize, scale: f64) -> Vec<f64> {
    (0..count)
        .map(|_| round(dtype, gauss(rng) * scale))
        .collect()
}

/// Draws a permutation.
pub(crate) fn shuffled(rng: &mut Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    order
}

pub(crate) fn argmax(values: &[f64]) -> usize {
    (0..values.len())
        .max_by(|&a, &b| values[a].total_cmp(&values[b]))
        .unwrap()
}

pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Returns the root mean square.
pub(crate) fn rms(values: &[f64]) -> f64 {
    norm(values) / (values.len() as f64).sqrt()
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Transposes a matrix with rows of `width` values.
pub(crate) fn transposed(values: &[f64], width: usize) -> Vec<f64> {
    let rows = values.len() / width;
    (0..values.len())
        .map(|e| values[e % rows * width + e / rows])
        .collect()
}

/// Rounds to `count` significant decimal digits, as people write parameters.
pub(crate) fn digits(value: f64, count: usize) -> f64 {
    format!("{value:.*e}", count - 1).parse().unwrap()
}
