//! Layer norm and RMS norm: x, centred or not, divided by its spread over the last axes.

use super::{Built, Layer, Mistake, STEP, Spec, Upstream};
use crate::{
    error::Result,
    network::{
        arithmetic::{growth, norm, quadrature},
        difference,
        sums::{Sums, Term},
        values::{At, Errors},
    },
    tensor::Dtype,
};

pub(super) struct Norm {
    width: usize,
    eps: f64,
    is_centred: bool,
    gain: Vec<f64>,
    bias: Vec<f64>,
    /// The index of the bias among the parameters.
    place_of_bias: usize,
    /// The growth of the error of the mean with the number of its terms.
    mean_growth: f64,
}

/// `weight` (x - mean x) / sqrt(var x + `eps`) + `bias`.
pub(super) fn layer_norm(spec: &mut Spec) -> Result<Built> {
    let eps = spec.settings.number("eps", 1e-5)?;
    new(spec, eps, true)
}

/// `weight` x / sqrt(mean x² + `eps`).
pub(super) fn rms_norm(spec: &mut Spec) -> Result<Built> {
    // PyTorch's default: the distance from 1 to the next number. Half types are widened to f32.
    let next = 2.0 * spec.dtype.unit_roundoff().min(Dtype::F32.unit_roundoff());
    let eps = spec.settings.number("eps", next)?;
    new(spec, eps, false)
}

fn new(spec: &mut Spec, eps: f64, is_centred: bool) -> Result<Built> {
    let shape = spec.input()?.to_vec();
    let last = shape.last().map(|&last| vec![last as f64]);
    let normalized = spec
        .settings
        .numbers("normalized_shape")?
        .or(last)
        .unwrap_or_default();
    let normalized: Vec<usize> = normalized.iter().map(|&extent| extent as usize).collect();
    if normalized.is_empty() || !shape.ends_with(&normalized) {
        let reason = format!("its normalized_shape {normalized:?} must end its input's, {shape:?}");
        return Err(spec.failed(reason));
    }
    if eps < 0.0 {
        return Err(spec.failed("its eps must not be negative"));
    }
    let width = normalized.iter().product();
    let gain = spec.optional("weight", &normalized)?;
    let bias = if is_centred {
        spec.optional("bias", &normalized)?
    } else {
        None
    };
    let layer = Norm {
        width,
        eps,
        is_centred,
        mean_growth: 1.0,
        place_of_bias: usize::from(gain.is_some()),
        gain: gain.unwrap_or_else(|| vec![1.0; width]),
        bias: bias.unwrap_or_else(|| vec![0.0; width]),
    };
    spec.build(shape, layer)
}

/// One row of a norm.
struct Row {
    mean: f64,
    /// 1 / sqrt(variance + eps).
    scale: f64,
    /// x, centred if the norm does so.
    centred: Vec<f64>,
    /// x, normalized.
    hat: Vec<f64>,
}

impl Norm {
    /// Returns a centred norm without weight and bias.
    pub(super) fn plain(width: usize, eps: f64) -> Self {
        Self {
            width,
            eps,
            is_centred: true,
            // PyTorch adds the samples up one by one.
            mean_growth: growth(width),
            place_of_bias: 0,
            gain: vec![1.0; width],
            bias: vec![0.0; width],
        }
    }

    fn row(&self, x: &[f64]) -> Row {
        let mean = if self.is_centred {
            self.mean(x.iter().copied())
        } else {
            0.0
        };
        let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
        let variance = self.mean(centred.iter().map(|x| x * x)) + self.eps;
        let scale = 1.0 / variance.sqrt();
        Row {
            mean,
            scale,
            hat: centred.iter().map(|x| x * scale).collect(),
            centred,
        }
    }

    fn mean(&self, values: impl Iterator<Item = f64>) -> f64 {
        values.sum::<f64>() / self.width as f64
    }

    /// Returns the error of a mean of values with these errors.
    fn of_mean(&self, errors: impl Iterator<Item = f64> + Clone) -> f64 {
        norm(errors) / self.width as f64
    }

    /// Returns the errors of a row's normalized values, and of its scale, relative to it.
    fn of_hat(&self, x: &[f64], row: &Row, of_x: &[f64]) -> (Vec<f64>, f64) {
        let Row { scale, hat, .. } = row;
        let pairs = hat.iter().zip(of_x);
        let of_scale = scale * self.of_mean(pairs.clone().map(|(hat, error)| hat * error));
        let centring = if self.is_centred { 1.0 } else { 0.0 };
        let mean = centring * scale * self.mean_growth * self.mean(x.iter().map(|x| x.abs()));
        let of_mean = centring * scale * self.of_mean(of_x.iter().copied());
        let of_hat = pairs.map(|(hat, error)| {
            quadrature([hat.abs() + mean, scale * error, of_mean, hat * of_scale])
        });
        (of_hat.collect(), quadrature([of_scale, 1.0]))
    }
}

impl Layer for Norm {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (x, y) in x[0].chunks(self.width).zip(y.chunks_mut(self.width)) {
            let hat = self.row(x).hat;
            for i in 0..self.width {
                y[i] = hat[i] * self.gain[i] + self.bias[i];
            }
        }
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        let rows = at.inputs[0].chunks(self.width).zip(d[0].chunks(self.width));
        for ((x, d), out) in rows.zip(out.chunks_mut(self.width)) {
            let row = self.row(x);
            let mean = if self.is_centred {
                self.mean(d.iter().copied())
            } else {
                0.0
            };
            let centred: Vec<f64> = d.iter().map(|d| d - mean).collect();
            let pairs = centred.iter().zip(&row.centred);
            let of_variance = self.mean(pairs.map(|(d, x)| d * (2.0 * x + d)));
            let variance = row.scale.powi(-2);
            let of_scale = difference::of_rsqrt(variance, of_variance);
            for i in 0..self.width {
                let hat = centred[i] * (row.scale + of_scale) + row.centred[i] * of_scale;
                out[i] = hat * self.gain[i];
            }
        }
    }

    /// Along entry i, with d = ±h, the difference is closed: d changes the mean by d / width, and
    /// the variance by (2 xc d + d² (1 - 1 / width)) / width, so row sums are all that is needed.
    fn pull(&self, at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        let count = self.width as f64;
        for start in (0..gx.len()).step_by(self.width) {
            let here = start..start + self.width;
            let x = &at.inputs[0][here.clone()];
            let row = self.row(x);
            let a: Vec<f64> = (0..self.width)
                .map(|i| g.g[start + i] * self.gain[i])
                .collect();
            let (of_g, flips) = (
                &g.errors.smooth[here.clone()],
                &g.errors.flips[here.clone()],
            );
            let centring = if self.is_centred { 1.0 } else { 0.0 };
            let sum: f64 = a.iter().sum();
            let along: f64 = a.iter().zip(&row.centred).map(|(a, x)| a * x).sum();
            let variance = row.scale.powi(-2);
            let h = STEP / row.scale;
            for i in 0..self.width {
                let side = |d: f64| {
                    let of_square = d * d * (1.0 - centring / count);
                    let of_variance = (2.0 * row.centred[i] * d + of_square) / count;
                    let of_scale = difference::of_rsqrt(variance, of_variance);
                    let of_centred = d * (a[i] - centring * sum / count);
                    of_centred * (row.scale + of_scale) + along * of_scale
                };
                gx[start + i] = (side(h) - side(-h)) / (2.0 * h);
            }
            let scale = row.scale;
            let gained = |errors: &[f64]| -> Vec<f64> {
                let pairs = errors.iter().zip(&self.gain);
                pairs.map(|(error, gain)| (error * gain).abs()).collect()
            };
            let (of_g, flips) = (gained(of_g), gained(flips));
            let (of_hat, of_scale) = self.of_hat(x, &row, &at.of_inputs[0].smooth[here]);
            // PyTorch computes b x + c, which cancels if the mean is large.
            let sharp = |i: usize| (x[i].abs() + row.mean.abs()) * scale;
            let mean_a = self.mean(a.iter().map(|a| a.abs()));
            let mean_sharp = self.mean((0..self.width).map(|i| a[i].abs() * sharp(i)));
            let mean_along = along.abs() * scale / count;
            let by_hat = |errors: &[f64]| {
                self.of_mean(errors.iter().zip(&row.hat).map(|(error, hat)| error * hat))
            };
            let (mean_of_g, along_of_g) = (self.of_mean(of_g.iter().copied()), by_hat(&of_g));
            let (mean_of_flips, along_of_flips) =
                (self.of_mean(flips.iter().copied()), by_hat(&flips));
            let along_of_hat = self.of_mean(a.iter().zip(&of_hat).map(|(a, error)| a * error));
            for i in 0..self.width {
                let hat = row.hat[i].abs();
                let own = a[i].abs() + centring * mean_a + sharp(i) * mean_sharp;
                errors.smooth[start + i] = quadrature([
                    g.arithmetic.of_sum(self.width, scale * own),
                    g.arithmetic.of_result(gx[start + i]),
                    scale * of_g[i],
                    centring * scale * mean_of_g,
                    scale * hat * along_of_g,
                    scale * of_hat[i] * mean_along,
                    scale * hat * along_of_hat,
                    of_scale * gx[start + i],
                ]);
                errors.flips[start + i] =
                    scale * quadrature([flips[i], centring * mean_of_flips, hat * along_of_flips]);
            }
        }
    }

    fn mistakes(&self, at: &At, _input: usize, g: &[f64]) -> Vec<Mistake> {
        let of = |name, with_mean: f64, with_scale: f64| {
            let mut gx = vec![0.0; g.len()];
            for start in (0..g.len()).step_by(self.width) {
                let row = self.row(&at.inputs[0][start..start + self.width]);
                let a: Vec<f64> = (0..self.width)
                    .map(|i| g[start + i] * self.gain[i])
                    .collect();
                let mean = with_mean * self.mean(a.iter().copied());
                let pairs = a.iter().zip(&row.hat);
                let along = with_scale * self.mean(pairs.map(|(a, hat)| a * hat));
                for i in 0..self.width {
                    gx[start + i] = row.scale * (a[i] - mean - row.hat[i] * along);
                }
            }
            Mistake { name, gx }
        };
        let scale = "it leaves out the gradient through the spread";
        if !self.is_centred {
            return vec![of(scale, 0.0, 0.0)];
        }
        vec![
            of("it leaves out the gradient through the mean", 0.0, 1.0),
            of(scale, 1.0, 0.0),
            of("it takes mean and spread for constants", 0.0, 0.0),
        ]
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        for start in (0..at.output.len()).step_by(self.width) {
            let here = start..start + self.width;
            let x = &at.inputs[0][here.clone()];
            let (of_hat, _) = self.of_hat(x, &self.row(x), &at.of_inputs[0].smooth[here]);
            for (i, of_hat) in of_hat.iter().enumerate() {
                let y = at.output[start + i];
                errors.smooth[start + i] =
                    quadrature([self.gain[i] * of_hat, at.arithmetic.of_result(y)]);
            }
        }
    }

    fn add_to_parameter(&self, parameter: usize, at: &At, g: &Upstream, sums: &mut Sums) {
        sums.terms += g.g.len() / self.width;
        // PyTorch adds the rows up in the type itself.
        sums.is_stored_each = true;
        for start in (0..g.g.len()).step_by(self.width) {
            let here = start..start + self.width;
            let x = &at.inputs[0][here.clone()];
            let row = self.row(x);
            let (of_hat, _) = self.of_hat(x, &row, &at.of_inputs[0].smooth[here]);
            let is_bias = parameter == self.place_of_bias;
            for (i, &of_hat) in of_hat.iter().enumerate() {
                let (factor, of_factor) = if is_bias {
                    (1.0, 0.0)
                } else {
                    (row.hat[i], of_hat)
                };
                let term = Term {
                    g: g.g[start + i],
                    of_g: g.errors.smooth[start + i],
                    flips: g.errors.flips[start + i],
                    factor,
                    of_factor,
                };
                sums.add(i, &term);
            }
        }
    }
}
