//! Batch norm in training mode: each channel is a norm over all samples.

use crate::{
    error::Result,
    network::{
        arithmetic::quadrature,
        layer::{Built, Layer, Mistake, Spec, Upstream, norm::Norm},
        sums::{Sums, Term},
        values::{At, Errors},
    },
};

struct Training {
    eps: f64,
    gain: Vec<f64>,
    bias: Vec<f64>,
    has_gain: bool,
    /// Entries of a channel in a sample, which lie together.
    inner: usize,
}

pub(super) fn new(spec: &mut Spec, shape: &[usize], eps: f64) -> Result<Built> {
    let channels = shape[0];
    if eps < 0.0 {
        return Err(spec.failed("its eps must not be negative"));
    }
    let gain = spec.optional("weight", &[channels])?;
    let bias = spec.optional("bias", &[channels])?;
    let layer = Training {
        eps,
        has_gain: gain.is_some(),
        gain: gain.unwrap_or_else(|| vec![1.0; channels]),
        bias: bias.unwrap_or_else(|| vec![0.0; channels]),
        inner: shape.iter().skip(1).product(),
    };
    spec.build(shape.to_vec(), layer)
}

impl Training {
    /// Returns the place of entry i of the channels [channels, samples, inner] in the samples.
    fn place(&self, i: usize, length: usize) -> usize {
        let (channels, of_channel) = (self.gain.len(), length / self.gain.len());
        let (channel, rest) = (i / of_channel, i % of_channel);
        (rest / self.inner * channels + channel) * self.inner + rest % self.inner
    }

    /// Returns values of the samples by channel.
    fn by_channel(&self, values: &[f64]) -> Vec<f64> {
        let length = values.len();
        (0..length).map(|i| values[self.place(i, length)]).collect()
    }

    /// Writes values by channel to those of the samples.
    fn by_sample(&self, of_channels: &[f64], values: &mut [f64]) {
        let length = values.len();
        for (i, value) in of_channels.iter().enumerate() {
            values[self.place(i, length)] = *value;
        }
    }

    /// Returns errors by channel, times the weight of each if `gains` is set.
    fn errors_by_channel(&self, errors: &Errors, gains: bool) -> Errors {
        let of = |values: &[f64]| {
            let mut values = self.by_channel(values);
            if gains {
                self.multiply(&mut values, f64::abs);
            }
            values
        };
        Errors {
            smooth: of(&errors.smooth),
            flips: of(&errors.flips),
        }
    }

    /// Multiplies values by channel by the weight of the channel.
    fn multiply(&self, values: &mut [f64], altered: impl Fn(f64) -> f64) {
        let of_channel = values.len() / self.gain.len();
        for (values, &gain) in values.chunks_mut(of_channel).zip(&self.gain) {
            values.iter_mut().for_each(|value| *value *= altered(gain));
        }
    }

    fn norm(&self, length: usize) -> Norm {
        Norm::plain(length / self.gain.len(), self.eps)
    }

    /// Calls a function with the norm of the channels, at their values.
    fn with_norm<R>(&self, at: &At, call: impl FnOnce(&Norm, &At) -> R) -> R {
        let x = self.by_channel(at.inputs[0]);
        let of_x = self.errors_by_channel(at.of_inputs[0], false);
        let norm = self.norm(x.len());
        let mut hat = vec![0.0; x.len()];
        norm.forward(&[&x], &mut hat);
        let at = At {
            inputs: vec![&x],
            output: &hat,
            of_inputs: vec![&of_x],
            arithmetic: at.arithmetic,
        };
        call(&norm, &at)
    }
}

impl Layer for Training {
    fn is_coupled(&self) -> bool {
        true
    }

    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        let mut hat = vec![0.0; y.len()];
        self.norm(y.len())
            .forward(&[&self.by_channel(x[0])], &mut hat);
        self.multiply(&mut hat, |gain| gain);
        let of_channel = hat.len() / self.gain.len();
        for (hat, &bias) in hat.chunks_mut(of_channel).zip(&self.bias) {
            hat.iter_mut().for_each(|value| *value += bias);
        }
        self.by_sample(&hat, y);
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        let mut of_channels = vec![0.0; out.len()];
        let d = self.by_channel(d[0]);
        self.with_norm(at, |norm, at| norm.difference(at, &[&d], &mut of_channels));
        self.multiply(&mut of_channels, |gain| gain);
        self.by_sample(&of_channels, out);
    }

    fn pull(&self, at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        let mut of_channels = (vec![0.0; gx.len()], Errors::zeros(gx.len()));
        let mut gained = self.by_channel(g.g);
        self.multiply(&mut gained, |gain| gain);
        let upstream = Upstream {
            g: &gained,
            errors: &self.errors_by_channel(g.errors, true),
            arithmetic: g.arithmetic,
        };
        let (of_gx, of_errors) = &mut of_channels;
        self.with_norm(at, |norm, at| norm.pull(at, 0, &upstream, of_gx, of_errors));
        self.by_sample(of_gx, gx);
        self.by_sample(&of_errors.smooth, &mut errors.smooth);
        self.by_sample(&of_errors.flips, &mut errors.flips);
    }

    fn mistakes(&self, at: &At, _input: usize, g: &[f64]) -> Vec<Mistake> {
        let mut gained = self.by_channel(g);
        self.multiply(&mut gained, |gain| gain);
        let mut mistakes = self.with_norm(at, |norm, at| norm.mistakes(at, 0, &gained));
        for mistake in &mut mistakes {
            let of_channels = mistake.gx.clone();
            self.by_sample(&of_channels, &mut mistake.gx);
        }
        mistakes
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        let mut of_hat = Errors::zeros(at.output.len());
        self.with_norm(at, |norm, at| norm.errors(at, &mut of_hat));
        self.multiply(&mut of_hat.smooth, f64::abs);
        self.by_sample(&of_hat.smooth, &mut errors.smooth);
        for (error, y) in errors.smooth.iter_mut().zip(at.output) {
            *error = quadrature([*error, at.arithmetic.of_result(*y)]);
        }
    }

    fn add_to_parameter(&self, parameter: usize, at: &At, g: &Upstream, sums: &mut Sums) {
        let is_gain = self.has_gain && parameter == 0;
        let of_channel = g.g.len() / self.gain.len();
        sums.terms += of_channel;
        sums.is_stored_each = true;
        let (upstream, of_g) = (
            self.by_channel(g.g),
            self.errors_by_channel(g.errors, false),
        );
        self.with_norm(at, |norm, at| {
            let mut of_hat = Errors::zeros(upstream.len());
            norm.errors(at, &mut of_hat);
            for (i, &value) in upstream.iter().enumerate() {
                let (factor, of_factor) = if is_gain {
                    (at.output[i], of_hat.smooth[i])
                } else {
                    (1.0, 0.0)
                };
                let term = Term {
                    g: value,
                    of_g: of_g.smooth[i],
                    flips: of_g.flips[i],
                    factor,
                    of_factor,
                };
                sums.add(i / of_channel, &term);
            }
        });
    }
}
