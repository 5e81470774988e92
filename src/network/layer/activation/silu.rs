//! SiLU, or swish: x / (1 + exp(-x)).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Silu;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Silu)
}

impl Pointwise for Silu {
    fn value(&self, x: f64) -> f64 {
        x * difference::sigmoid(x)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        d * difference::sigmoid(x + d) + x * difference::of_sigmoid(x, d)
    }

    fn slope(&self, x: f64) -> f64 {
        difference::sigmoid(x) * (1.0 + x * difference::sigmoid(-x))
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        difference::sigmoid(x) * (1.0 + x.abs())
    }
}
