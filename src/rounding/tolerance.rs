//! The bound on the error of a correct gradient under test.

use serde::{Deserialize, Serialize};

use super::{
    RoundingModel, SWAMPED,
    additions::{accumulated_in, drift},
    underflow_floor,
};
use crate::{
    number,
    plan::Plan,
    problem::{Problem, Wrt},
    tensor::Dtype,
};

/// The margin on [`RoundingModel`]. Chosen together with [`RoundingModel::LOGITS`].
const MARGIN: f64 = 2.0;

/// Conditioning per unit of R p in a row with magnitude 0, at most: the sums, and |log p|, which is
/// below 100 where p underflows in f32. Chosen above both.
const LOST: f64 = 1000.0;

/// Returns the smallest positive value that a framework keeps. In f16 with so many classes that 1/k
/// is subnormal, PyTorch was seen to lose p altogether.
pub(super) fn smallest_kept(problem: &Problem, dtype: Dtype) -> f64 {
    let smallest_normal = 2f64.powi(-14);
    if dtype == Dtype::F16 && 1.0 / (problem.k() as f64) < smallest_normal {
        smallest_normal
    } else {
        dtype.smallest_kept()
    }
}

/// Returns the roundings of the sum over samples itself: of a matrix product for the weight, and of
/// a plain sum for the bias. JAX splits a plain sum in half precision into a few of that type: it
/// was measured at 9 in f16 where all samples have one class, and at 16 in bf16, of which the
/// rounding of the samples explains a half.
fn result(wrt: Wrt, dtype: Dtype) -> f64 {
    match (wrt, dtype) {
        (Wrt::Bias, Dtype::F16) => 18.0,
        (Wrt::Bias, Dtype::BF16) => 10.0,
        (Wrt::Bias, _) => 5.0,
        _ => 2.0,
    }
}

/// The bound on the error of a correct analytic entry.
///
/// It is `rounding` times the conditioning ([`RoundingModel`]) and the
/// [nonlinearity](super::nonlinearity), plus `drift` times |numeric|, plus `floor`; or
/// [`Given`] by the user.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Twice [`RoundingModel::LOGITS`]·u. It is more if a softmax over many classes is nearly
    /// uniform.
    #[serde(with = "number")]
    pub rounding: f64,
    /// The absolute bound on losses to underflow in the element type.
    #[serde(with = "number")]
    pub floor: f64,
    /// The conditioning that the engine's own underflow may have lost, per unit of 1 + magnitude.
    #[serde(with = "number")]
    pub lost: f64,
    /// The relative drift of a parameter's gradient: see `samples`.
    #[serde(with = "number")]
    pub drift: f64,
    /// The relative rounding that all entries share: of the normalizer and the targets' weights. It
    /// bounds the gradient's scale, not its entries.
    #[serde(with = "number")]
    pub shared: f64,
    /// The factor by which the error of a sum over rows may exceed that of rows that err
    /// independently: the root of their multiplicity. 1 for a parameter, whose rows are classes.
    #[serde(with = "number")]
    pub alike: f64,
    /// The user's tolerances, which replace the others.
    pub given: Option<Given>,
}

/// The user's tolerances: rtol·max(|analytic|, |numeric|) + atol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The relative tolerance.
    #[serde(with = "number")]
    pub rtol: f64,
    /// The absolute tolerance.
    #[serde(with = "number")]
    pub atol: f64,
}

impl Tolerance {
    /// Returns the larger of each bound.
    pub fn or(self, other: Self) -> Self {
        Self {
            rounding: self.rounding.max(other.rounding),
            floor: self.floor.max(other.floor),
            lost: self.lost.max(other.lost),
            drift: self.drift.max(other.drift),
            shared: self.shared.max(other.shared),
            alike: self.alike.max(other.alike),
            given: self.given,
        }
    }

    /// Returns the tolerance of a gradient of the plan's type, where samples have this
    /// multiplicity. If a softmax `is_even`, its terms round to the same side in their sum.
    pub(crate) fn new(
        problem: &Problem,
        plan: &Plan,
        given: Option<Given>,
        multiplicity: f64,
        is_even: bool,
    ) -> Self {
        let (wrt, dtype) = (plan.wrt, plan.dtype);
        let u = dtype.unit_roundoff();
        let is_half = dtype.is_half();
        let is_unweighted = problem.is_one_hot() && problem.is_unweighted();
        // Roundings that all entries share.
        let roundings = match dtype {
            // One rounding if the samples are alike, and the error of 1/Z.
            _ if is_half && is_unweighted => 1.25 + dtype.lost_in_reciprocal(problem.normalizer()),
            // Weights of targets were measured at 5 roundings.
            _ if is_half => 6.0,
            // The sums behind the scale, over a row or a block of rows, are in f64 too.
            Dtype::F64 => 256.0,
            _ => 16.0,
        };
        let (drift, alike) = if wrt.is_parameter() {
            let roundings = drift(problem.sample_count() as f64, multiplicity);
            let result = result(wrt, dtype) * u;
            (
                roundings * accumulated_in(dtype).unit_roundoff() + result,
                1.0,
            )
        } else {
            (0.0, multiplicity.sqrt())
        };
        let in_softmax = if is_even && !is_half {
            (problem.k() as f64 / SWAMPED - 1.0).max(0.0)
        } else {
            0.0
        };
        let even = 1.0 + in_softmax / RoundingModel::of_gradient(problem, plan).sums;
        Self {
            rounding: MARGIN * RoundingModel::LOGITS * u * even,
            floor: underflow_floor(problem, wrt, smallest_kept(problem, dtype)),
            lost: LOST * underflow_floor(problem, wrt, plan.precision.smallest_normal()),
            drift,
            shared: roundings * u + drift,
            alike,
            given,
        }
    }
}
