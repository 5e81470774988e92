//! -log(1 + exp(-x)).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct LogSigmoid;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, LogSigmoid)
}

impl Pointwise for LogSigmoid {
    fn value(&self, x: f64) -> f64 {
        -difference::softplus(-x)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        -difference::of_softplus(-x, -d)
    }

    fn slope(&self, x: f64) -> f64 {
        difference::sigmoid(-x)
    }

    /// PyTorch subtracts from 1 for x < 0, and from 0 else.
    fn slope_rounding(&self, x: f64) -> f64 {
        if x < 0.0 {
            1.0
        } else {
            difference::sigmoid(-x)
        }
    }
}
