//! x, limited to `min_val` and `max_val`.

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

pub(in crate::network::layer) struct Hardtanh {
    pub(in crate::network::layer) low: f64,
    pub(in crate::network::layer) high: f64,
}

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let low = spec.settings.number("min_val", -1.0)?;
    let high = spec.settings.number("max_val", 1.0)?;
    if low >= high {
        return Err(spec.failed("its min_val must be below its max_val"));
    }
    each(spec, Hardtanh { low, high })
}

impl Pointwise for Hardtanh {
    fn value(&self, x: f64) -> f64 {
        x.clamp(self.low, self.high)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        difference::of_clamp(x, d, self.low, self.high)
    }

    fn slope(&self, x: f64) -> f64 {
        let is_inside = x > self.low && x < self.high;
        if is_inside { 1.0 } else { 0.0 }
    }

    fn rounding(&self, _x: f64, _y: f64) -> f64 {
        0.0
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        vec![(self.low, 1.0), (self.high, 1.0)]
    }
}
