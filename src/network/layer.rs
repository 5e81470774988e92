//! Layers: the functions at the nodes of a network.
//!
//! Adding a layer takes one file and one row of [`OPS`]. Its file states the function itself,
//! differences of it that cannot cancel, its slope by PyTorch's conventions, and the rounding
//! errors of a program that computes it. The tests loop over the table.
//!
//! All values are blocks of rows, one row per sample, in f64.

use super::{
    arithmetic::Arithmetic,
    sums::Sums,
    values::{At, Errors},
};
use crate::error::Result;

mod activation;
mod batch_norm;
mod elementwise;
mod identity;
mod linear;
mod norm;
mod pointwise;
mod prelu;
mod softmax;
mod spec;

pub(super) use pointwise::{Pointwise, STEP};
pub(super) use spec::{Built, Spec};

/// A function of blocks of values, and its parameters.
pub(super) trait Layer: Send + Sync {
    /// Writes f(x) to `y`.
    fn forward(&self, x: &[&[f64]], y: &mut [f64]);

    /// Writes f(x + d) - f(x) to `out`.
    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]);

    /// Returns true if a sample's output depends on the other samples.
    fn is_coupled(&self) -> bool {
        false
    }

    /// Returns true if the function has a kink at x.
    fn is_on_kink(&self, _x: &[&[f64]]) -> bool {
        false
    }

    /// Writes the central difference of <g, f> along each entry of an input to `gx`, divided by the
    /// step, and its rounding errors in a program to `errors`: those of `g` that it is handed,
    /// those of the values, and its own.
    fn pull(&self, at: &At, input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors);

    /// Returns what programs get in place of the gradient of an input, with what they leave out.
    fn mistakes(&self, _at: &At, _input: usize, _g: &[f64]) -> Vec<Mistake> {
        Vec::new()
    }

    /// Writes the rounding errors of a program's y to `errors`.
    fn errors(&self, at: &At, errors: &mut Errors);

    /// Adds the derivative of <g, f> with respect to a parameter, which the output depends on
    /// affinely, with what bounds its errors.
    fn add_to_parameter(&self, _parameter: usize, _at: &At, _g: &Upstream, _sums: &mut Sums) {}
}

/// A wrong gradient that programs compute.
pub(super) struct Mistake {
    /// The clause that names it, such as `it leaves out the mean's own gradient`.
    pub(super) name: &'static str,
    /// The gradient with respect to the input.
    pub(super) gx: Vec<f64>,
}

/// The gradient with respect to a layer's output, and its errors: none if it is the user's own.
pub(super) struct Upstream<'a> {
    pub(super) g: &'a [f64],
    pub(super) errors: &'a Errors,
    pub(super) arithmetic: &'a Arithmetic,
}

/// Makes a layer from its description.
type New = fn(&mut Spec) -> Result<Built>;

/// All layers, by the name of their function in PyTorch.
pub(super) const OPS: [(&str, New); 29] = [
    ("add", elementwise::add),
    ("batch_norm", batch_norm::new),
    ("celu", activation::celu::new),
    ("dropout", elementwise::dropout),
    ("elu", activation::elu::new),
    ("flatten", identity::flatten),
    ("gelu", activation::gelu::new),
    ("hardswish", activation::hardswish::new),
    ("hardtanh", activation::hardtanh::new),
    ("identity", identity::identity),
    ("layer_norm", norm::layer_norm),
    ("leaky_relu", activation::leaky_relu::new),
    ("linear", linear::new),
    ("log_sigmoid", activation::log_sigmoid::new),
    ("log_softmax", softmax::log_softmax),
    ("mish", activation::mish::new),
    ("multiply", elementwise::multiply),
    ("prelu", prelu::new),
    ("relu", activation::relu::new),
    ("relu6", activation::relu6::new),
    ("reshape", identity::reshape),
    ("rms_norm", norm::rms_norm),
    ("selu", activation::selu::new),
    ("sigmoid", activation::sigmoid::new),
    ("silu", activation::silu::new),
    ("softmax", softmax::softmax),
    ("softplus", activation::softplus::new),
    ("softsign", activation::softsign::new),
    ("tanh", activation::tanh::new),
];
