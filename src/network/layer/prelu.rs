//! PReLU: x for x > 0, else a learned slope times x: one for all, or one for each channel. The
//! channels are the first axis behind that of the samples.

use super::{
    Built, Layer, Pointwise, Spec, Upstream,
    activation::leaky_relu::LeakyRelu,
    pointwise::{Slope, pull_entry},
};
use crate::{
    error::Result,
    network::{
        arithmetic::quadrature,
        sums::{Sums, Term},
        values::{At, Errors},
    },
};

struct Prelu {
    slopes: Vec<f64>,
    /// Entries of a channel, which lie together.
    inner: usize,
}

pub(super) fn new(spec: &mut Spec) -> Result<Built> {
    let shape = spec.input()?.to_vec();
    let channels = match (spec.shape_of("weight"), shape.first()) {
        (Some([1]), _) | (_, None) => 1,
        (_, Some(&channels)) => channels,
    };
    let slopes = spec.required("weight", &[channels])?;
    let inner = shape.iter().skip(1).product();
    spec.build(shape, Prelu { slopes, inner })
}

impl Prelu {
    fn channel(&self, entry: usize) -> usize {
        entry / self.inner % self.slopes.len()
    }

    fn at(&self, entry: usize) -> LeakyRelu {
        let slope = self.slopes[self.channel(entry)];
        LeakyRelu { slope }
    }

    fn slope(&self, entry: usize, at: &At) -> Slope {
        let function = self.at(entry);
        let (x, error) = (at.inputs[0][entry], at.of_inputs[0].smooth[entry]);
        Slope::at(&function, &function.kinks(), x, error, at.arithmetic)
    }
}

impl Layer for Prelu {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (i, (y, &x)) in y.iter_mut().zip(x[0]).enumerate() {
            *y = self.at(i).value(x);
        }
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.at(i).difference(at.inputs[0][i], d[0][i]);
        }
    }

    fn is_on_kink(&self, x: &[&[f64]]) -> bool {
        x[0].contains(&0.0)
    }

    fn pull(&self, at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        for i in 0..gx.len() {
            let slope = self.slope(i, at);
            pull_entry(&slope, slope.slope.abs(), g, i, gx, errors);
        }
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        for i in 0..at.output.len() {
            let slope = self.slope(i, at);
            errors.smooth[i] = quadrature([
                slope.slope.abs().max(slope.jump) * at.of_inputs[0].smooth[i],
                at.output[i],
                at.arithmetic.of_storing(at.output[i]),
            ]);
        }
    }

    fn add_to_parameter(&self, _parameter: usize, at: &At, g: &Upstream, sums: &mut Sums) {
        sums.terms += g.g.len() / self.slopes.len();
        // PyTorch stores the products.
        sums.is_stored_each = true;
        for (i, &value) in g.g.iter().enumerate() {
            let x = at.inputs[0][i];
            let error = at.of_inputs[0].smooth[i];
            let is_near = x < 0.0 || x <= at.arithmetic.near(error);
            let term = Term {
                g: value,
                of_g: g.errors.smooth[i],
                flips: g.errors.flips[i],
                factor: x.min(0.0),
                of_factor: if is_near { error } else { 0.0 },
            };
            sums.add(self.channel(i), &term);
        }
    }
}
