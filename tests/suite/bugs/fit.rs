//! Comparison of a wrong gradient with the exact one: whether the bug is visible, and which other
//! bugs it looks like.

use gradprobe::{report::Code, tensor::Dtype};

use super::{
    numbers::{distance, norm},
    program::Program,
};

/// Codes whose only claim is a factor.
pub(crate) const SCALES: [Code; 11] = [
    Code::Accumulated,
    Code::SumInsteadOfMean,
    Code::MeanInsteadOfSum,
    Code::DividedByClasses,
    Code::DividedByAllRows,
    Code::DividedByCountNotWeights,
    Code::SignFlipped,
    Code::LossScaled,
    Code::AveragedOverWorkers,
    Code::NormClipped,
    Code::Scaled,
];
/// Most backward passes that are summed.
pub(crate) const MOST_CALLS: u32 = 20;
/// Norms that gradients are clipped to.
const NORMS: [f64; 6] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The gradient under test against the exact one.
pub(crate) struct Fit {
    /// <a,g> / <g,g>.
    pub(crate) scale: f64,
    /// |a - s g| / |a|.
    pub(crate) rho: f64,
    /// |a - g| / |g|.
    pub(crate) error: f64,
}

impl Fit {
    pub(crate) fn of(a: &[f64], g: &[f64]) -> Self {
        let dot: f64 = a.iter().zip(g).map(|(a, g)| a * g).sum();
        let scale = dot / norm(g).powi(2);
        let scaled: Vec<f64> = g.iter().map(|g| scale * g).collect();
        Self {
            scale,
            rho: distance(a, &scaled) / norm(a),
            error: distance(a, g) / norm(g),
        }
    }
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "s {:.4e} rho {:.1e} error {:.1e}",
            self.scale, self.rho, self.error
        )
    }
}

/// Returns true if an entry is off by more than a long calculation in `dtype` may lose. `sizes` are
/// the sums of the magnitudes of the entries' terms.
pub(crate) fn is_visible(a: &[f64], g: &[f64], sizes: &[f64], dtype: Dtype, terms: usize) -> bool {
    let roundings = 16.0 * (1.0 + (terms as f64).sqrt() / 4.0);
    let allowed = roundings * dtype.unit_roundoff();
    let off = a.iter().zip(g).map(|(a, g)| (a - g).abs());
    off.zip(sizes).any(|(off, size)| off > allowed * size)
}

/// Returns true if the loss hardly depends on most samples: fewer than a fifth of the rows, or
/// fewer than four, are larger than a thousandth of the largest.
pub(crate) fn is_saturated(dlogits: &[f64], k: usize) -> bool {
    let rows: Vec<f64> = dlogits.chunks_exact(k).map(norm).collect();
    let largest = rows.iter().copied().fold(0.0, f64::max);
    let alive = rows.iter().filter(|row| **row > 1e-3 * largest).count();
    alive < 4 || 5 * alive < rows.len()
}

/// Returns the codes whose factor `scale` is within `tolerance`, for the problem of the file.
pub(crate) fn coincidences(file: &Program, a: &[f64], scale: f64, tolerance: f64) -> Vec<Code> {
    let (n, _, k) = file.shape;
    let (z, valid) = (file.mean_normalizer(), file.counted().len() as f64);
    let (mean, weighted) = (file.is_mean(), file.loss.class_weight.is_some());
    let is = |factor: f64| (scale / factor - 1.0).abs() < tolerance;
    // torch's clip_grad_norm_ adds 1e-6 to the norm.
    let round_norm = |limit: &f64| (norm(a) / limit - 1.0).abs() < tolerance + 2e-6 * scale / limit;
    let table = [
        (
            Code::Accumulated,
            (2..=MOST_CALLS).any(|calls| is(f64::from(calls))),
        ),
        (Code::SumInsteadOfMean, mean && is(z)),
        (Code::MeanInsteadOfSum, !mean && is(1.0 / z)),
        (Code::DividedByClasses, is(1.0 / k as f64)),
        (
            Code::DividedByAllRows,
            mean && valid < n as f64 && is(valid / n as f64),
        ),
        (
            Code::DividedByCountNotWeights,
            mean && weighted && is(z / valid),
        ),
        (Code::LossScaled, (8..=24).any(|power| is(2f64.powi(power)))),
        (
            Code::AveragedOverWorkers,
            (2..=16).any(|m| is(1.0 / f64::from(m))),
        ),
        (
            Code::NormClipped,
            (0.0..1.0).contains(&scale) && NORMS.iter().any(round_norm),
        ),
    ];
    let holding = table.into_iter().filter(|(_, holds)| *holds);
    holding.map(|(code, _)| code).collect()
}
