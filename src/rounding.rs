//! Bounds on the errors of an entry, both of the gradient under test and of the numeric gradient.
//!
//! All bounds are built from the terms of this table. Code, comments and shaders use the same
//! names.
//!
//! | term | definition | unit |
//! |---|---|---|
//! | u | unit roundoff of a type | 1 |
//! | Z | normalizer: the divisor of the sum of the samples' losses | 1 |
//! | R | total: the weight of a sample's loss | 1 |
//! | magnitude | A: the sum of magnitudes behind a logit; of a row, the largest | logit |
//! | logit error | bound on a logit's rounding error over u ([`logit_error`]) | logit |
//! | conditioning | c = sums·S + T of an entry ([`RoundingModel`]) | gradient |
//! | sums | weight of S in the conditioning ([`RoundingModel::sums`]) | 1 |
//! | alike | weight of R p for a sum of equal targets ([`RoundingModel::alike`]) | 1 |
//! | accumulation | share of A in the logit error ([`RoundingModel::accumulation`]) | 1 |
//! | nonlinearity | factor exp(2·u·logit error) on rounding ([`nonlinearity`]) | 1 |
//! | rounding | bound on accumulated rounding per unit of conditioning | 1 |
//! | truncation | bound on the scheme's own error over S ([`truncation`]) | 1 |
//! | multiplicity | m: the number of equal samples that a sample has on average | 1 |
//! | drift | relative bound on one-sided rounding in a sum over samples (`additions`) | 1 |
//! | floor | absolute bound on losses to underflow ([`underflow_floor`]) | gradient |
//! | shared | relative bound on rounding that all entries share ([`Tolerance::shared`]) | 1 |
//! | tolerance | bound on a correct analytic entry's error ([`Tolerance`]) | gradient |
//! | noise | bound on the numeric entry's error | gradient |
//! | allowed | tolerance + noise | gradient |
//! | severity | \|analytic - numeric\| / allowed | 1 |
//! | slack | relative bound on rounding between a device's and the host's comparison | 1 |
//!
//! ```text
//! tolerance = rounding · nonlinearity · c + drift · |numeric| + floor,   or rtol · largest + atol
//! noise     = (noise[column] + noise_by_row) · c + noise_drift · |numeric| + noise_floor
//! ```
//!
//! largest is max(|analytic|, |numeric|). [`RowBounds::judge`] evaluates both and is mirrored in
//! shaders/allowance.wgsl.
//!
//! [`logit_error`]: RoundingModel::logit_error
//! [`truncation`]: crate::scheme::Scheme::truncation

use crate::{
    plan::Plan,
    problem::{Problem, Wrt},
    tensor::{Dtype, Real},
};

mod additions;
mod noise;
mod samples;
mod tolerance;
mod verdict;

use tolerance::smallest_kept;

pub(crate) use additions::ENGINE_CHAIN;
pub(crate) use noise::Noise;
pub(crate) use samples::{Common, SampleSum};
pub use tolerance::{Given, Tolerance};
pub use verdict::{Caught, Conditioning, Judgement, RowBounds};

/// Rows or columns below which a matrix product may add up all classes in one sequence. Larger
/// products begin a new sum after a few hundred. Chosen.
const THIN: usize = 16;

/// Classes per unit of [`RoundingModel::sums`] in such a sequence, where terms below the roundoff
/// of the partial sum are lost; and in the sum of a softmax whose terms are all nearly equal.
/// PyTorch was measured at k/21 roundings of the former (4x3x128256) and k/100 of the latter.
const SWAMPED: f64 = 100.0;

/// A model of the rounding that accumulates in a gradient, whichever program computes it.
///
/// A correct gradient is off by at most about [`LOGITS`](Self::LOGITS)·u·(sums·S + T), where u is
/// the unit roundoff of its type, and S and T sum magnitudes over the classes c. With A the
/// [magnitude](crate::cpu::logits::Logits::magnitude) behind a logit,
///
/// ```text
/// S = sum_c (R p[c] + |R p[c] - r[c]|) |dz[c]/dx|
/// T = sum_c R p[c] max((1 - p[c]) A[c] + sum_{b != c} p[b] A[b] + |log p[c]|, |logsumexp(z)| / 2)
///         |dz[c]/dx|
/// ```
///
/// 1. S bounds the rounding of the softmax and of the terms of the last product.
/// 2. T is the first-order bound on `R p[c]` under errors A in the logits,
///    `dp[c] = p[c] (dz[c] - sum_b p[b] dz[b])`, and under the rounding of log p, which frameworks
///    store.
/// 3. A kernel that computes p = exp(z - logsumexp(z)) does not normalize p, so the rounding of
///    logsumexp remains in it, even if p is close to 1 (Dao et al., "FlashAttention", 2022;
///    Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024).
/// 4. Automatic differentiation of z - max z adds minus the sum of the row's gradient to its
///    largest logit. The sum is 0 but for rounding, up to u·R, and for what underflow loses in each
///    class, times exp(z - max z). The conditioning of that class therefore gains
///    ([`at_max`](Self::at_max) + [`lost_at_max`](Self::lost_at_max)·sum_c exp(z\[c\] - max z))·R.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundingModel {
    /// The weight of S relative to T. Sums over k terms drift as sqrt(k), unless they are
    /// accumulated in a wider type.
    pub sums: f64,
    /// The weight of R p relative to T, for the sum of a row's targets in the backward pass of
    /// log_softmax. Targets that are all equal drift as k, not as sqrt(k), because every rounding
    /// errs to the same side.
    pub alike: f64,
    /// The weight of R at the largest logit.
    pub at_max: f64,
    /// The weight of R sum_c exp(z\[c\] - max z) at the largest logit.
    pub lost_at_max: f64,
    /// The unit roundoff of the type. Logits that differ by less than their errors may each be the
    /// largest.
    pub unit_roundoff: f64,
    /// The share of A in the logit error. It is 1 unless logits are accumulated in f32, or in a few
    /// partial sums, and rounded to f16 or bf16: then the logit error is |z| plus this share of A.
    pub accumulation: f64,
}

impl RoundingModel {
    /// Roundings behind an error in the logits: the sum, and the subtraction of the largest logit
    /// before exp. Measured in some 40,000 checks of PyTorch's gradients: the largest error was
    /// 0.56 of the allowed one (benches/RESULTS.md).
    pub const LOGITS: f64 = 4.0;

    /// Conditioning of the largest logit per unit of sums·R, in half precision and otherwise.
    /// PyTorch was measured at 14 u·R in f16 and at 4.2 sums·u·R in f32; the bounds are 16 and 4.8.
    const AT_MAX: [f64; 2] = [2.0, 0.6];
    /// The same for a sum over samples in half precision, whose errors differ.
    const AT_MAX_OF_SUM: f64 = 0.5;
    /// Share of A / sqrt(d) in the logit error in half precision, for products that add up partial
    /// sums over the features in that type (split-K). A logit's partial sums are of the size of
    /// A / sqrt(d), however small their sum. PyTorch was measured at 0.1 with 4 parts.
    const PARTIAL_SUMS: f64 = 0.5;
    /// Share of the unit roundoff by which a sum of equal terms is off, per term, over
    /// [`LOGITS`](Self::LOGITS). PyTorch was measured at k/28 roundings in f32 and k/9 in f64
    /// (32,000 and 50,257 classes); with the margin of a tolerance the bound is k/4.
    const ALIKE: f64 = 1.0 / 32.0;

    /// Returns the model of a gradient of type `dtype`, where the longest sum behind an entry has
    /// `terms` terms (classes or samples). `equal_targets` is
    /// [`Problem::equal_targets`].
    pub fn new(dtype: Dtype, terms: usize, equal_targets: f64) -> Self {
        let alike = Self::ALIKE * equal_targets;
        let unit_roundoff = dtype.unit_roundoff();
        match dtype {
            Dtype::F16 | Dtype::BF16 => {
                let accumulation = Dtype::F32.unit_roundoff() / dtype.unit_roundoff();
                Self {
                    sums: 1.0,
                    alike: alike * accumulation,
                    at_max: Self::AT_MAX[0],
                    lost_at_max: 0.0,
                    unit_roundoff,
                    accumulation,
                }
            }
            _ => {
                let sums = 1.0 + (terms as f64).sqrt() / Self::LOGITS;
                Self {
                    sums,
                    alike,
                    at_max: Self::AT_MAX[1] * sums,
                    lost_at_max: 0.0,
                    unit_roundoff,
                    accumulation: 1.0,
                }
            }
        }
    }

    /// Returns the model of the gradient under test. Sums over samples are modelled apart: see
    /// `SampleSum`.
    pub fn of_gradient(problem: &Problem, plan: &Plan) -> Self {
        let mut model = Self::new(plan.dtype, problem.k(), problem.equal_targets());
        let is_thin = problem.n().min(problem.d()) < THIN;
        if plan.wrt == Wrt::Input && is_thin && model.accumulation == 1.0 {
            model.sums += problem.k() as f64 / SWAMPED;
        }
        // The derivative of the sum of exp has a term for each class with a target.
        let targets = if problem.is_one_hot() { 1 } else { problem.k() };
        let lost = smallest_kept(problem, plan.dtype) * targets as f64 * problem.normalizer();
        model.lost_at_max = lost / (Self::LOGITS * model.unit_roundoff);
        if model.accumulation != 1.0 {
            if !problem.is_of_logits() {
                model.accumulation += Self::PARTIAL_SUMS / (problem.d() as f64).sqrt();
            }
            if plan.wrt.is_parameter() {
                model.at_max = Self::AT_MAX_OF_SUM;
            }
        }
        model
    }

    /// Returns the distance within which a logit may be the largest of its row, in view of the
    /// row's largest logit error.
    pub fn ties<T: Real>(&self, largest_error: T) -> T {
        T::of(2.0 * self.unit_roundoff) * largest_error
    }

    /// Returns a bound on the rounding error of a logit z with magnitude a, in units of u. It is a,
    /// or |z| plus [`accumulation`](Self::accumulation) times a.
    pub fn logit_error<T: Real>(&self, z: T, a: T) -> T {
        if self.accumulation == 1.0 {
            a
        } else {
            z.abs() + T::of(self.accumulation) * a
        }
    }
}

/// Returns the factor by which rounding in a softmax may exceed its first-order bound.
///
/// Logits that are off by δ move the softmax by up to exp(2δ) - 1 <= 2δ·exp(2δ). The factor is
/// close to 1, except in half precision, where logits in the hundreds leave no correct digit.
pub fn nonlinearity(unit_roundoff: f64, logit_error: f64) -> f64 {
    // exp(600) = 4e260: products of it with the other terms stay finite.
    (2.0 * unit_roundoff * logit_error).min(600.0).exp()
}

/// Returns a bound on what an entry may lose if results below `smallest` are flushed to zero, or
/// rounded to a multiple of it.
///
/// 1. The entry itself and three partial sums lose `smallest` each, or `smallest` times the class
///    weight if it is multiplied by that last.
/// 2. Each derivative of a logit, already divided by Z, loses as much times dz/dx.
/// 3. Each target that is not one-hot loses as much, and their sum is multiplied by the softmax.
/// 4. Each value of the softmax before that loses `smallest`·R/Z·dz/dx.
pub fn underflow_floor(problem: &Problem, wrt: Wrt, smallest: f64) -> f64 {
    let slope = problem.slopes(wrt).0;
    let (samples, derivatives) = match wrt {
        Wrt::Logits => (1.0, 0.0),
        Wrt::Input => (1.0, problem.k() as f64),
        Wrt::Weight | Wrt::Bias => {
            let samples = problem.sample_count() as f64;
            (samples, samples)
        }
    };
    let total = problem.largest_total();
    let softmax = samples * (problem.k() as f64 + 4.0) * (1.0 + slope) * total;
    let targets = if problem.is_one_hot() {
        0.0
    } else {
        samples * problem.k() as f64 * (1.0 + slope)
    };
    let weighted = (4.0 + derivatives * slope + targets) * total.max(1.0);
    smallest * (weighted + softmax / problem.normalizer())
}
