//! Networks: a graph of layers that ends in a loss, or in a given upstream gradient.
//!
//! The gradient of every tensor is checked by differences that cannot cancel, layer by layer:
//!
//! 1. The network is computed forward in f64, with the rounding errors of a program's values.
//! 2. From the loss back, each layer is differentiated along each entry of its inputs: the central
//!    difference of <g, f>, where g is the gradient with respect to its output. Where the user
//!    gives g, their own is taken, so that a wrong layer hides no other, and each layer is judged
//!    by itself.
//! 3. The gradient of a parameter is a sum of the differences along the layer's outputs, on which
//!    they act affinely.
//! 4. A value may be off by the law of networks: the rounding errors of a program, in quadrature,
//!    and what a kink close by may change.
//!
//! ```
//! # fn main() -> gradprobe::error::Result<()> {
//! use std::collections::BTreeMap;
//! use gradprobe::{network::{Handed, Model, Network}, tensor::{Dtype, Tensor}};
//!
//! let model = Model::parse("relu dot")?;
//! let tensors = BTreeMap::from([
//!     ("input".to_owned(), Tensor::from_f32(&[1, 2], &[2.0, -1.0])),
//!     ("grad_output".to_owned(), Tensor::from_f32(&[1, 2], &[3.0, 4.0])),
//!     ("grad.input".to_owned(), Tensor::from_f32(&[1, 2], &[3.0, 4.0])),
//! ]);
//! let network = Network::new(&model, &tensors, Dtype::F32)?;
//! let mut wrong = Vec::new();
//! network.check(0..1, Handed::Given, &mut |rows| wrong.extend(rows.wrong()), &mut |_| true);
//! assert_eq!(wrong, [1]); // The mask of the ReLU is missing.
//! # Ok(())
//! # }
//! ```

mod alone;
mod arithmetic;
mod attributes;
mod build;
#[cfg(test)]
mod certificates;
mod cost;
mod difference;
mod draws;
mod kinks;
mod layer;
mod loss;
mod model;
mod noise;
mod opinion;
mod parameters;
mod reverse;
mod sums;
mod tail;
mod values;
mod whole;

pub use attributes::{Attribute, Attributes};
pub use build::{Network, Tested};
pub use model::{Model, Node};
pub use reverse::{Handed, Rows};

/// Returns the names of all layers, and of all losses: functions of PyTorch.
pub fn functions() -> [Vec<&'static str>; 2] {
    let losses = loss::LOSSES.iter().map(|(name, _)| *name);
    [
        layer::OPS.iter().map(|(name, _)| *name).collect(),
        losses.collect(),
    ]
}
