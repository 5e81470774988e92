//! The tolerance of a sum over samples: the gradient with respect to a parameter.
//!
//! The errors of samples that differ add up in quadrature; those of equal samples have the same
//! sign. With c[j] the conditioning of sample j in an entry, and m the multiplicity of the samples,
//!
//! ```text
//! conditioning = min((1 + sqrt(m / n_eff)) / 2 · sqrt(m · sum_j c[j]²), sum_j c[j])
//!              + soft |sum_j R p dz/dx| + hard |sum_j r dz/dx| + at_max |sum_{j: z max} R dz/dx|
//!              + (|sum_j R dp dz/dx| + swamped + one_sided) / rounding
//!              + (2.4 sqrt(n) + likeness² n / 5 + equal_parts) peak · u_acc / rounding
//! n_eff        = (sum_j c[j])² / sum_j c[j]²
//! likeness     = min(1, 2 sums · peak / sqrt(n sum_j c[j]²))
//! equal_parts  = n for a bias with smoothed targets, else sqrt(n (m - 1))
//! drift        = sqrt(n m) / 2 · u_acc
//! ```
//!
//! where swamped is |sum_j R p dz/dx| if that is at most 4 n u_acc peak, else 0, and one_sided is
//! |numeric| / max R · u_acc / 2 · peak for a bias, else 0.
//!
//! The same holds for the noise, with half of each constant: an engine adds up short chains of
//! samples first. Its truncation has the same sign in every sample.
//!
//! 1. The bound on one sample's error has a margin that the sum of many independent errors does not
//!    need. n_eff of them are not negligible. With one feature, the errors are functions of one
//!    number, so that those of neighbours are alike: then the margin stays.
//! 2. Some errors are the same share of p, or of the target, in every sample. They add up as the
//!    terms of the gradient do, with signs ([`Common`]). dp is the error of p in samples so
//!    close that it depends on the input as the terms of the gradient do: see `by_sum::lost_sums`.
//! 3. Each addition rounds by up to u_acc/2 of the partial sum, u_acc being the roundoff of the
//!    type in which the samples are added up. 2.4 sqrt(n) is 4 standard deviations of n such
//!    roundings. The peak is the largest partial sum that was seen. Terms of one size and sign
//!    round to the same side: PyTorch and NumPy were measured at n/10 roundings. Equal samples,
//!    and the equal parts of smoothed targets, do so beside a partial sum of other terms too,
//!    and then by up to a whole rounding each: NumPy was measured at n/3. Of n/m groups of m
//!    equal samples each errs to its own side: PyTorch was measured at 0.75 sqrt(n m). In a
//!    bias, the terms of saturated samples are all R or -R. At least |numeric| / R of them do
//!    not cancel, and few more if the peak is no larger: NumPy was measured at 0.22 roundings
//!    each.
//! 4. Equal terms round to the same side: the drift is n/2 roundings if all samples are equal.
//!    PyTorch was measured at n/7 for n up to 20,000.

use serde::{Deserialize, Serialize};

use super::{
    Noise, RoundingModel, Tolerance,
    additions::{accumulated_in, chain},
};
use crate::{
    plan::Plan,
    problem::{Problem, Wrt},
};

/// Roundings of a sum of equal terms, per term.
const EQUAL_TERMS: f64 = 0.2;

/// The mean size of the terms, in units of the roundoff of the peak, up to which they may be lost.
/// PyTorch was measured to lose a third of terms of 0.4 (d = 1).
const SWAMPED_TERMS: f64 = 4.0;

/// Roundings of the terms of a bias that do not cancel.
const ONE_SIDED: f64 = 0.5;

/// 4 standard deviations of roundings that are uniform within u: see 3. of the module.
const ACCUMULATION: f64 = 2.4;

/// The errors that are the same share of p, or of the target, in every sample, in units of
/// conditioning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Common {
    /// The weight of R p for each class, `[k]`.
    pub(crate) soft: Vec<f64>,
    /// The weight of the target r.
    pub(crate) hard: f64,
    /// The weight of R at the largest logit: see [`RoundingModel::at_max`].
    pub(crate) at_max: f64,
}

impl Common {
    /// Weight of targets that are not one-hot, or weighted: their own rounding, and that of their
    /// sum. JAX was measured at 3 roundings in bf16.
    const TARGETS: f64 = 0.75;
    /// Weight of R p (1 + |log p|), and of r, where samples are close: they round to the same side.
    /// PyTorch was measured at 6 roundings in f16.
    const CLOSE: f64 = 1.0;

    /// Replaces each weight by the larger one.
    #[cfg(feature = "files")]
    pub(crate) fn raise(&mut self, other: &Self) {
        let soft = self.soft.iter_mut().zip(&other.soft);
        soft.for_each(|(weight, other)| *weight = weight.max(*other));
        self.hard = self.hard.max(other.hard);
        self.at_max = self.at_max.max(other.at_max);
    }

    /// Returns the weights; they are 0 if samples share no error. `close` is the largest |log p| of
    /// each class, `[k]`, if samples are close.
    pub(crate) fn new(problem: &Problem, plan: &Plan, close: Option<&[f64]>) -> Self {
        let is_exact = problem.is_one_hot() && problem.is_unweighted();
        if is_exact && close.is_none() {
            return Self {
                soft: vec![0.0; problem.k()],
                hard: 0.0,
                at_max: 0.0,
            };
        }
        let targets = if is_exact { 0.0 } else { Self::TARGETS };
        let hard = targets + close.map_or(0.0, |_| Self::CLOSE);
        let model = RoundingModel::new(plan.dtype, problem.k(), problem.equal_targets());
        let log = |c: usize| close.map_or(0.0, |close| Self::CLOSE * (1.0 + close[c]));
        let soft = (0..problem.k()).map(|c| targets + model.alike + log(c));
        Self {
            soft: soft.collect(),
            hard,
            at_max: close.map_or(0.0, |_| model.at_max),
        }
    }
}

/// The bounds on the errors of a sum over samples.
pub(crate) struct SampleSum<'a> {
    noise: &'a Noise,
    n: f64,
    multiplicity: f64,
    /// The weight of S: see [`RoundingModel::sums`].
    sums: f64,
    /// The sum of squares below which it may lack squares that underflowed.
    least_squares: f64,
    /// Conditioning of the analytic entry per unit of the peak: of terms that differ, and of equal
    /// ones.
    accumulation: [f64; 2],
    /// The same for the noise.
    own_accumulation: [f64; 2],
    /// Conditioning of the analytic entry per unit of the peak, of equal parts of all samples.
    equal_parts: f64,
    /// The unit roundoff of the type in which samples are added up.
    accumulated: f64,
    /// Roundings of the partial sums of a bias, per unit of the derivative.
    one_sided: f64,
    /// True if there is one feature, d = 1.
    is_on_a_line: bool,
}

impl<'a> SampleSum<'a> {
    pub(crate) fn new(
        problem: &Problem,
        plan: &Plan,
        tolerance: &Tolerance,
        noise: &'a Noise,
        multiplicity: f64,
    ) -> Self {
        let n = problem.sample_count() as f64;
        let accumulated = accumulated_in(plan.dtype).unit_roundoff();
        let of = |n: f64, per_rounding: f64| {
            [ACCUMULATION * n.sqrt(), n * EQUAL_TERMS].map(|roundings| roundings * per_rounding)
        };
        let own = plan.precision.unit_roundoff() / 2.0;
        let has_equal_parts = plan.wrt == Wrt::Bias && problem.equal_targets() > 0.0;
        let equal_parts = if has_equal_parts {
            n
        } else {
            (n * (multiplicity - 1.0)).sqrt()
        };
        Self {
            noise,
            n,
            multiplicity,
            sums: RoundingModel::of_gradient(problem, plan).sums,
            least_squares: n * plan.precision.smallest_normal(),
            equal_parts: equal_parts * accumulated / tolerance.rounding,
            accumulated,
            one_sided: if plan.wrt == Wrt::Bias {
                ONE_SIDED / problem.largest_total().max(f64::MIN_POSITIVE)
            } else {
                0.0
            },
            is_on_a_line: problem.d() == 1,
            accumulation: of(n, accumulated / tolerance.rounding),
            own_accumulation: of(chain(problem.sample_count()), own),
        }
    }

    /// Returns the part of sum_j R p dz/dx, in magnitude, that a sum with this peak may lose: all
    /// of it if the terms are as small as the roundoff of the partial sums, which then drop them.
    pub(crate) fn swamped(&self, softmax: f64, peak: f64) -> f64 {
        let is_swamped = softmax <= SWAMPED_TERMS * self.n * self.accumulated * peak;
        if is_swamped { softmax } else { 0.0 }
    }

    /// Returns the bound on one-sided roundings in a sum with this derivative and this peak.
    pub(crate) fn one_sided(&self, derivative: f64, peak: f64) -> f64 {
        self.one_sided * derivative.abs() * self.accumulated * peak
    }

    /// Replaces the conditioning of every entry, `[k·m]`, by that of the noise of the sums, and
    /// returns that of their tolerance. `common` is that of errors which samples share.
    pub(crate) fn condition(
        &self,
        conditioning: &mut [f64],
        [squares, peak, magnitude]: [&[f64]; 3],
        common: &[f64],
    ) -> Vec<f64> {
        let columns = self.noise.by_column.len();
        let of_entry = |(entry, all): (usize, &mut f64)| {
            // Squares may have left the range of the engine's arithmetic.
            let independent = if squares[entry] > self.least_squares {
                squares[entry].sqrt()
            } else {
                *all
            };
            let independent = independent.clamp(*all / self.n.sqrt(), *all);
            // 0 / 0 without any error: then there is nothing to bound.
            let alike = (self.multiplicity.sqrt() * independent / *all).min(1.0);
            let margin = if self.is_on_a_line {
                1.0
            } else {
                (1.0 + alike) / 2.0
            };
            let errors = (margin * self.multiplicity.sqrt() * independent).min(*all);
            let peak = peak[entry];
            let likeness = 2.0 * self.sums * peak / (self.n.sqrt() * independent);
            let likeness = if likeness < 1.0 { likeness } else { 1.0 };
            let additions =
                |[different, equal]: [f64; 2]| (different + likeness * likeness * equal) * peak;
            let common = common[entry];
            let noise = self
                .noise
                .of_sum(entry % columns, magnitude[entry / columns]);
            *all = noise(*all, errors, additions(self.own_accumulation));
            errors + common + additions(self.accumulation) + self.equal_parts * peak
        };
        conditioning.iter_mut().enumerate().map(of_entry).collect()
    }
}
