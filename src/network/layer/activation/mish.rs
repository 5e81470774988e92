//! Mish: x tanh(log(1 + exp(x))).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Mish;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Mish)
}

/// Returns tanh(log(1 + exp(x))), a rational function of exp(-|x|).
fn gate(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x > 0.0 {
        (1.0 + 2.0 * e) / (1.0 + 2.0 * e + 2.0 * e * e)
    } else {
        e * (e + 2.0) / (e * (e + 2.0) + 2.0)
    }
}

impl Pointwise for Mish {
    fn value(&self, x: f64) -> f64 {
        x * gate(x)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        let b = x + d;
        let (at, to) = (difference::softplus(x), difference::softplus(b));
        let of_gate = difference::of_tanh(at, to, difference::of_softplus(x, d));
        d * gate(b) + x * of_gate
    }

    fn slope(&self, x: f64) -> f64 {
        let of_gate = difference::sech(difference::softplus(x)).powi(2) * difference::sigmoid(x);
        gate(x) + x * of_gate
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        gate(x) + x.abs() * difference::sigmoid(x)
    }
}
