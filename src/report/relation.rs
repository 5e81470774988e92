//! Relations between the gradients of one backward pass.

use serde::{Deserialize, Serialize};

use crate::number;
use crate::problem::Wrt;

/// A relation that the chain rule of a linear layer demands of the gradients under test, whatever
/// the loss is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// The gradient on the left side.
    pub wrt: Wrt,
    /// The right side, such as `grad_logits · weight`.
    pub formula: String,
    /// True if the two sides agree within rounding. `None` if rounding allows both answers, or if
    /// the comparison would take too long.
    pub holds: Option<bool>,
    /// `|left - right| / |right|` in the Frobenius norm, over the rows that were compared.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "number::option"
    )]
    pub error: Option<f64>,
    /// The rows of the gradient that were compared; 0 if that would take too long.
    pub rows: usize,
    /// The rows of the gradient.
    pub of: usize,
}
