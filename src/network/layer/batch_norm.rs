//! Batch norm: (x - running mean) / sqrt(running variance + `eps`), times `weight`, plus `bias`, in
//! each channel: the first axis behind that of the samples. With `training`, mean and variance are
//! those of all samples.

use super::{Built, Layer, Spec, Upstream};
use crate::{
    error::Result,
    network::{
        arithmetic::quadrature,
        sums::{Sums, Term},
        values::{At, Errors},
    },
};

mod training;

struct BatchNorm {
    /// 1 / sqrt(running variance + eps) of each channel.
    scale: Vec<f64>,
    mean: Vec<f64>,
    gain: Vec<f64>,
    bias: Vec<f64>,
    has_gain: bool,
    /// Entries of a channel, which lie together.
    inner: usize,
}

pub(super) fn new(spec: &mut Spec) -> Result<Built> {
    let shape = spec.input()?.to_vec();
    let Some(&channels) = shape.first() else {
        return Err(spec.failed("its input needs an axis of channels"));
    };
    let eps = spec.settings.number("eps", 1e-5)?;
    if spec.settings.flag("training")? {
        return training::new(spec, &shape, eps);
    }
    let gain = spec.optional("weight", &[channels])?;
    let bias = spec.optional("bias", &[channels])?;
    let mean = spec.statistic("running_mean", channels)?;
    let variance = spec.statistic("running_var", channels)?;
    if variance.iter().any(|variance| variance + eps <= 0.0) {
        return Err(spec.failed("its running_var plus eps must be above 0"));
    }
    let layer = BatchNorm {
        scale: variance.iter().map(|it| 1.0 / (it + eps).sqrt()).collect(),
        mean,
        has_gain: gain.is_some(),
        gain: gain.unwrap_or_else(|| vec![1.0; channels]),
        bias: bias.unwrap_or_else(|| vec![0.0; channels]),
        inner: shape.iter().skip(1).product(),
    };
    spec.build(shape, layer)
}

impl BatchNorm {
    fn channel(&self, entry: usize) -> usize {
        entry / self.inner % self.mean.len()
    }

    fn slope(&self, entry: usize) -> f64 {
        let c = self.channel(entry);
        self.scale[c] * self.gain[c]
    }

    /// Returns the normalized value of an entry, and its error.
    fn hat(&self, entry: usize, x: f64, error: f64) -> (f64, f64) {
        let c = self.channel(entry);
        let hat = (x - self.mean[c]) * self.scale[c];
        let own = (x.abs() + self.mean[c].abs()) * self.scale[c];
        (hat, quadrature([own, hat, self.scale[c] * error]))
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (i, (y, &x)) in y.iter_mut().zip(x[0]).enumerate() {
            let c = self.channel(i);
            *y = (x - self.mean[c]) * self.slope(i) + self.bias[c];
        }
    }

    fn difference(&self, _at: &At, d: &[&[f64]], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = d[0][i] * self.slope(i);
        }
    }

    fn pull(&self, _at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        for (i, gx) in gx.iter_mut().enumerate() {
            let slope = self.slope(i);
            *gx = g.g[i] * slope;
            let own = g.arithmetic.of_result(*gx);
            errors.smooth[i] = quadrature([slope * g.errors.smooth[i], own, *gx, *gx]);
            errors.flips[i] = slope.abs() * g.errors.flips[i];
        }
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        for (i, error) in errors.smooth.iter_mut().enumerate() {
            let c = self.channel(i);
            let (_, of_hat) = self.hat(i, at.inputs[0][i], at.of_inputs[0].smooth[i]);
            let own = at.arithmetic.of_result(at.output[i]);
            *error = quadrature([self.gain[c] * of_hat, self.bias[c], own]);
        }
    }

    fn add_to_parameter(&self, parameter: usize, at: &At, g: &Upstream, sums: &mut Sums) {
        sums.terms += g.g.len() / self.mean.len();
        sums.is_stored_each = true;
        for (i, &value) in g.g.iter().enumerate() {
            let (factor, of_factor) = if self.has_gain && parameter == 0 {
                self.hat(i, at.inputs[0][i], at.of_inputs[0].smooth[i])
            } else {
                (1.0, 0.0)
            };
            let term = Term {
                g: value,
                of_g: g.errors.smooth[i],
                flips: g.errors.flips[i],
                factor,
                of_factor,
            };
            sums.add(self.channel(i), &term);
        }
    }
}
