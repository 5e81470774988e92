//! tanh(x).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Tanh;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Tanh)
}

impl Pointwise for Tanh {
    fn value(&self, x: f64) -> f64 {
        x.tanh()
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        difference::of_tanh(x, x + d, d)
    }

    fn slope(&self, x: f64) -> f64 {
        difference::sech(x).powi(2)
    }

    /// PyTorch computes 1 - y², which cancels.
    fn slope_rounding(&self, x: f64) -> f64 {
        1.0 + x.tanh().powi(2)
    }
}
