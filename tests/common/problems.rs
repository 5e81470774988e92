//! Random problems, the same for every run.

use gradprobe::{
    loss::{CrossEntropy, Reduction},
    problem::Problem,
    tensor::Tensor,
};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

/// Draws normal values times `scale`, rounded to f32, so that every engine reads the same operands.
pub(crate) fn normal(rng: &mut impl Rng, count: usize, scale: f64) -> Vec<f64> {
    let value = |_| f64::from((rng.sample::<f64, _>(StandardNormal) * scale) as f32);
    (0..count).map(value).collect()
}

/// Draws a problem of n samples, d features and k classes, with logits of size `scale`.
pub(crate) fn random(
    seed: u64,
    n: usize,
    d: usize,
    k: usize,
    scale: f64,
    reduction: Reduction,
) -> Problem {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let input = normal(&mut rng, n * d, 1.0);
    let weight = normal(&mut rng, k * d, scale / (d as f64).sqrt());
    let bias = normal(&mut rng, k, scale);
    let target: Vec<i64> = (0..n).map(|_| rng.random_range(0..k as i64)).collect();
    Problem::new(
        Tensor::from_f64(&[n, d], &input),
        Tensor::from_f64(&[k, d], &weight),
        Some(Tensor::from_f64(&[k], &bias)),
        &Tensor::from_classes(&target),
        CrossEntropy {
            reduction,
            ..CrossEntropy::default()
        },
    )
    .unwrap()
}
