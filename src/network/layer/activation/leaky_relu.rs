//! x for x > 0, else `negative_slope` x.

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

pub(in crate::network::layer) struct LeakyRelu {
    pub(in crate::network::layer) slope: f64,
}

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let slope = spec.settings.number("negative_slope", 0.01)?;
    each(spec, LeakyRelu { slope })
}

impl Pointwise for LeakyRelu {
    fn value(&self, x: f64) -> f64 {
        if x > 0.0 { x } else { self.slope * x }
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        difference::of_leaky(x, d, self.slope)
    }

    fn slope(&self, x: f64) -> f64 {
        if x > 0.0 { 1.0 } else { self.slope }
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        vec![(0.0, (1.0 - self.slope).abs())]
    }
}
