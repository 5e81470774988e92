//! Losses: the function at the end of a network.
//!
//! Adding a loss takes one file and one row of [`LOSSES`], as for layers.

use std::ops::Range;

use super::{
    attributes::Attributes,
    values::{At, Errors},
};
use crate::{error::Result, loss::CrossEntropy, tensor::Tensor};

mod bce;
mod cross_entropy;
mod dot;
mod entries;
mod huber;
mod kl_div;
mod l1;
mod mse;
mod spec;

pub(super) use spec::LossSpec;

/// A loss: a sum over samples, divided by a constant.
pub(super) trait Loss: Send + Sync {
    /// Returns the sum over these samples of the losses' differences for y + d, divided by the
    /// constant.
    fn difference(&self, rows: Range<usize>, y: &[f64], d: &[f64]) -> Vec<f64>;

    /// Returns the number that the sum of the losses is divided by.
    fn normalizer(&self) -> f64 {
        1.0
    }

    /// Returns the cross-entropy of logits [n, k] that it is, with its target.
    fn cross_entropy(&self) -> Option<(&CrossEntropy, &Tensor)> {
        None
    }

    /// Returns true if the loss has a kink at y.
    fn is_on_kink(&self, _rows: Range<usize>, _y: &[f64]) -> bool {
        false
    }

    /// Writes the central difference of the loss along each entry of y to `gy`, divided by the
    /// step, and the rounding errors of a program's gradient. `at` has y as its only input.
    fn pull(&self, rows: Range<usize>, at: &At, gy: &mut [f64], errors: &mut Errors);
}

/// Makes a loss from its description.
type New = fn(&mut LossSpec) -> Result<Box<dyn Loss>>;

/// All losses, by the name of their function in PyTorch.
pub(super) const LOSSES: [(&str, New); 10] = [
    ("binary_cross_entropy", bce::of_probabilities),
    ("binary_cross_entropy_with_logits", bce::of_logits),
    ("cross_entropy", cross_entropy::cross_entropy),
    ("dot", dot::new),
    ("huber_loss", huber::huber_loss),
    ("kl_div", kl_div::new),
    ("l1_loss", l1::new),
    ("mse_loss", mse::new),
    ("nll_loss", cross_entropy::nll_loss),
    ("smooth_l1_loss", huber::smooth_l1_loss),
];

/// The tensors that a loss takes besides the network's output, by name.
pub(super) type Tensors = std::collections::BTreeMap<String, Tensor>;

/// Makes a loss, by name.
pub(super) fn build(
    name: &str,
    attributes: &Attributes,
    shape: &[usize],
    n: usize,
    tensors: &Tensors,
) -> Option<Result<Box<dyn Loss>>> {
    let (_, new) = LOSSES.iter().find(|(known, _)| *known == name)?;
    let mut spec = LossSpec::new(name, attributes, shape, n, tensors);
    Some(new(&mut spec).and_then(|loss| spec.settings.finish().map(|()| loss)))
}
