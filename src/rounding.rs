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
//! | accumulation | share of A in the logit error ([`RoundingModel::accumulation`]) | 1 |
//! | nonlinearity | factor exp(2·u·logit error) on rounding ([`nonlinearity`]) | 1 |
//! | rounding | bound on accumulated rounding per unit of conditioning | 1 |
//! | truncation | bound on the scheme's own error over S ([`truncation`]) | 1 |
//! | drift | relative bound on one-sided rounding in a sum over equal samples ([`drift`]) | 1 |
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

mod noise;
mod tolerance;
mod verdict;

pub(crate) use noise::Noise;
pub use tolerance::{Given, Tolerance};
pub use verdict::{Caught, Judgement, RowBounds};

/// A model of the rounding that accumulates in a gradient, whichever program computes it.
///
/// A correct gradient is off by at most about [`LOGITS`](Self::LOGITS)·u·(sums·S + T), where u is
/// the unit roundoff of its type, and S and T sum magnitudes over the classes c. With A the
/// [magnitude](crate::cpu::logits::Logits::magnitude) behind a logit,
///
/// ```text
/// S = sum_c (R p[c] + |R p[c] - r[c]|) |dz[c]/dx|
/// T = sum_c R p[c] ((1 - p[c]) A[c] + sum_{b != c} p[b] A[b] + |log p[c]|) |dz[c]/dx|
/// ```
///
/// 1. S bounds the rounding of the softmax and of the terms of the last product.
/// 2. T is the first-order bound on `R p[c]` under errors A in the logits,
///    `dp[c] = p[c] (dz[c] - sum_b p[b] dz[b])`, and under the rounding of log p, which frameworks
///    store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundingModel {
    /// The weight of S relative to T. Sums over k terms drift as sqrt(k), unless they are
    /// accumulated in a wider type.
    pub sums: f64,
    /// The share of A in the logit error. It is 1 unless logits are accumulated in f32 and rounded
    /// once to f16 or bf16: then the logit error is |z| plus this share of A.
    pub accumulation: f64,
}

impl RoundingModel {
    /// Roundings behind an error in the logits: the sum, and the subtraction of the largest logit
    /// before exp. Measured in some 40,000 checks of PyTorch's gradients: the largest error was
    /// 0.56 of the allowed one (benches/RESULTS.md).
    pub const LOGITS: f64 = 4.0;

    /// Returns the model of a gradient of type `dtype`, where the longest sum behind an entry has
    /// `terms` terms (classes or samples).
    pub fn new(dtype: Dtype, terms: usize) -> Self {
        match dtype {
            Dtype::F16 | Dtype::BF16 => Self {
                sums: 1.0,
                accumulation: Dtype::F32.unit_roundoff() / dtype.unit_roundoff(),
            },
            _ => Self {
                sums: 1.0 + (terms as f64).sqrt() / Self::LOGITS,
                accumulation: 1.0,
            },
        }
    }

    /// Returns the model of the gradient under test.
    pub fn of_gradient(problem: &Problem, plan: &Plan) -> Self {
        Self::new(plan.dtype, problem.terms(plan.wrt))
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

/// Returns the relative drift of a parameter's gradient, in the worst case: a sum over samples that
/// are all equal.
///
/// Every rounding of the partial sums then errs to the same side, by up to half a unit of the whole
/// sum. If samples differ, and the sum is small against its terms, drift is small against
/// [`RoundingModel::sums`]. PyTorch was measured at n/7 roundings for n up to 20,000; the bound is
/// n/4.
pub fn drift(problem: &Problem, wrt: Wrt, unit_roundoff: f64) -> f64 {
    if wrt.is_parameter() {
        problem.n() as f64 / 4.0 * unit_roundoff
    } else {
        0.0
    }
}

/// Returns a bound on what an entry may lose if results below `smallest` are flushed to zero, or
/// rounded to a multiple of it.
///
/// 1. The entry itself loses `smallest`.
/// 2. Each derivative of a logit, already divided by Z, loses `smallest`·dz/dx.
/// 3. Each value of the softmax before that loses `smallest`·R/Z·dz/dx.
pub fn underflow_floor(problem: &Problem, wrt: Wrt, smallest: f64) -> f64 {
    let slope = problem.slopes(wrt).0;
    let (samples, derivatives) = match wrt {
        Wrt::Logits => (1.0, 0.0),
        Wrt::Input => (1.0, problem.k() as f64),
        Wrt::Weight | Wrt::Bias => (problem.n() as f64, problem.n() as f64),
    };
    let softmax = samples * (problem.k() as f64 + 4.0) * (1.0 + slope) * problem.largest_total();
    smallest * (1.0 + derivatives * slope + softmax / problem.normalizer())
}
