//! Sums and products of two values of the same shape, and dropout.

use super::{Built, Layer, Spec, Upstream, identity::identity};
use crate::{
    error::Result,
    network::{
        arithmetic::quadrature,
        values::{At, Errors},
    },
};

struct Add;
struct Multiply {
    /// A constant factor.
    factor: f64,
    /// True if the second input is a constant.
    is_mask: bool,
}

/// The sum of two values.
pub(super) fn add(spec: &mut Spec) -> Result<Built> {
    let shape = shape_of_both(spec)?;
    spec.build(shape, Add)
}

/// The product of two values, entry by entry.
pub(super) fn multiply(spec: &mut Spec) -> Result<Built> {
    let shape = shape_of_both(spec)?;
    let (factor, is_mask) = (1.0, false);
    spec.build(shape, Multiply { factor, is_mask })
}

/// Dropout: in eval mode its input; else its input times its second one, the mask of zeros and
/// ones, divided by 1 - `p`.
pub(super) fn dropout(spec: &mut Spec) -> Result<Built> {
    let p = spec.settings.number("p", 0.5)?;
    if spec.inputs.len() == 1 {
        return identity(spec);
    }
    let shape = shape_of_both(spec)?;
    if !(0.0..1.0).contains(&p) {
        return Err(spec.failed("its p must be at least 0 and below 1"));
    }
    let (factor, is_mask) = (1.0 / (1.0 - p), true);
    spec.build(shape, Multiply { factor, is_mask })
}

fn shape_of_both(spec: &Spec) -> Result<Vec<usize>> {
    spec.require_inputs(2)?;
    let [one, other] = [&spec.inputs[0], &spec.inputs[1]];
    if one != other {
        return Err(spec.failed(format!("its inputs have the shapes {one:?} and {other:?}")));
    }
    Ok(one.clone())
}

impl Layer for Add {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = x[0][i] + x[1][i];
        }
    }

    fn difference(&self, _at: &At, d: &[&[f64]], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = d[0][i] + d[1][i];
        }
    }

    fn pull(&self, _at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        gx.copy_from_slice(g.g);
        errors.clone_from(g.errors);
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        let [one, other] = [at.of_inputs[0], at.of_inputs[1]];
        for (i, error) in errors.smooth.iter_mut().enumerate() {
            let own = at.arithmetic.of_result(at.output[i]);
            *error = quadrature([one.smooth[i], other.smooth[i], own]);
        }
    }
}

impl Layer for Multiply {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = self.factor * (x[0][i] * x[1][i]);
        }
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        let x = &at.inputs;
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.factor * (d[0][i] * (x[1][i] + d[1][i]) + x[0][i] * d[1][i]);
        }
    }

    fn pull(&self, at: &At, input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        let (other, of_other) = (at.inputs[1 - input], at.of_inputs[1 - input]);
        for i in 0..gx.len() {
            let factor = self.factor * other[i];
            gx[i] = factor * g.g[i];
            errors.smooth[i] = quadrature([
                factor * g.errors.smooth[i],
                self.factor * g.g[i] * of_other.smooth[i],
                if self.is_mask { gx[i] } else { 0.0 },
                g.arithmetic.of_result(gx[i]),
            ]);
            errors.flips[i] = factor.abs() * g.errors.flips[i];
        }
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        let [one, other] = [at.of_inputs[0], at.of_inputs[1]];
        for (i, error) in errors.smooth.iter_mut().enumerate() {
            *error = quadrature([
                self.factor * at.inputs[1][i] * one.smooth[i],
                self.factor * at.inputs[0][i] * other.smooth[i],
                if self.is_mask { at.output[i] } else { 0.0 },
                at.arithmetic.of_result(at.output[i]),
            ]);
        }
    }
}
