//! max(x, 0).

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Relu;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Relu)
}

impl Pointwise for Relu {
    fn value(&self, x: f64) -> f64 {
        x.max(0.0)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        difference::of_leaky(x, d, 0.0)
    }

    fn slope(&self, x: f64) -> f64 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }

    fn rounding(&self, _x: f64, _y: f64) -> f64 {
        0.0
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        vec![(0.0, 1.0)]
    }
}
