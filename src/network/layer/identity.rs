//! Layers that change the shape of a sample, or nothing.

use super::{Built, Layer, Spec, Upstream};
use crate::{
    error::Result,
    network::values::{At, Errors},
};

struct Identity;

pub(super) fn identity(spec: &mut Spec) -> Result<Built> {
    let shape = spec.input()?.to_vec();
    spec.build(shape, Identity)
}

/// All axes but that of the samples as one.
pub(super) fn flatten(spec: &mut Spec) -> Result<Built> {
    let shape = vec![spec.input()?.iter().product()];
    if spec.settings.number("start_dim", 1.0)? != 1.0 {
        return Err(spec.failed("its start_dim must be 1"));
    }
    spec.build(shape, Identity)
}

/// The axes of `shape` besides that of the samples; one of them may be -1.
pub(super) fn reshape(spec: &mut Spec) -> Result<Built> {
    let all: usize = spec.input()?.iter().product();
    let Some(asked) = spec.settings.numbers("shape")? else {
        return Err(spec.failed("it needs a shape"));
    };
    let known: f64 = asked.iter().filter(|extent| **extent != -1.0).product();
    let extents = asked
        .iter()
        .map(|&it| if it == -1.0 { all as f64 / known } else { it });
    let extents: Vec<f64> = extents.collect();
    let is_whole = |extent: &f64| *extent >= 1.0 && extent.fract() == 0.0;
    if !extents.iter().all(is_whole) || extents.iter().product::<f64>() != all as f64 {
        return Err(spec.failed(format!("a sample of {all} entries has no shape {asked:?}")));
    }
    let shape = extents.iter().map(|&extent| extent as usize).collect();
    spec.build(shape, Identity)
}

impl Layer for Identity {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        y.copy_from_slice(x[0]);
    }

    fn difference(&self, _at: &At, d: &[&[f64]], out: &mut [f64]) {
        out.copy_from_slice(d[0]);
    }

    fn pull(&self, _at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        gx.copy_from_slice(g.g);
        errors.clone_from(g.errors);
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        errors.clone_from(at.of_inputs[0]);
    }
}
