//! 1 / (1 + exp(-x)).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Sigmoid;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Sigmoid)
}

impl Pointwise for Sigmoid {
    fn value(&self, x: f64) -> f64 {
        difference::sigmoid(x)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        difference::of_sigmoid(x, d)
    }

    fn slope(&self, x: f64) -> f64 {
        difference::sigmoid(x) * difference::sigmoid(-x)
    }

    /// PyTorch computes y (1 - y), where 1 - y cancels.
    fn slope_rounding(&self, x: f64) -> f64 {
        difference::sigmoid(x)
    }
}
