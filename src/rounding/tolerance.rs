//! The bound on the error of a correct gradient under test.

use super::{RoundingModel, drift, underflow_floor};
use crate::{plan::Plan, problem::Problem, tensor::Dtype};

/// The margin on [`RoundingModel`]. Chosen together with [`RoundingModel::LOGITS`].
const MARGIN: f64 = 2.0;

/// The bound on the error of a correct analytic entry.
///
/// It is `rounding` times the conditioning ([`RoundingModel`]) and the
/// [nonlinearity](super::nonlinearity), plus `drift` times |numeric|, plus `floor`; or
/// [`Given`] by the user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Twice [`RoundingModel::LOGITS`]·u.
    pub rounding: f64,
    /// The absolute bound on losses to underflow in the element type.
    pub floor: f64,
    /// The relative drift of a parameter's gradient: see [`drift`].
    pub drift: f64,
    /// The relative rounding that all entries share: of the normalizer and the targets' weights. It
    /// bounds the gradient's scale, not its entries.
    pub shared: f64,
    /// The user's tolerances, which replace the others.
    pub given: Option<Given>,
}

/// The user's tolerances: rtol·max(|analytic|, |numeric|) + atol.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Given {
    /// The relative tolerance.
    pub rtol: f64,
    /// The absolute tolerance.
    pub atol: f64,
}

impl Tolerance {
    /// Returns the tolerance of a gradient of the plan's type.
    pub(crate) fn new(problem: &Problem, plan: &Plan, given: Option<Given>) -> Self {
        let (wrt, dtype) = (plan.wrt, plan.dtype);
        let u = dtype.unit_roundoff();
        let is_half = dtype.is_half();
        let is_unweighted = problem.is_one_hot() && problem.loss().class_weight.is_none();
        // Roundings that all entries share.
        let roundings = match dtype {
            // One rounding if the samples are alike, and the error of 1/Z.
            _ if is_half && is_unweighted => 1.25 + dtype.lost_in_reciprocal(problem.normalizer()),
            // Weights of targets were measured at 3 roundings.
            _ if is_half => 4.0,
            // The sums behind the scale, over a row or a block of rows, are in f64 too.
            Dtype::F64 => 256.0,
            _ => 16.0,
        };
        // Frameworks accumulate half precision in f32.
        let drift = drift(problem, wrt, u.min(Dtype::F32.unit_roundoff()));
        Self {
            rounding: MARGIN * RoundingModel::LOGITS * u,
            floor: underflow_floor(problem, wrt, dtype.smallest_kept()),
            drift,
            shared: roundings * u + drift,
            given,
        }
    }
}
