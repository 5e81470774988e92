//! x / (1 + |x|).

use crate::{
    error::Result,
    network::layer::{Built, Pointwise, Spec, pointwise::each},
};

struct Softsign;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Softsign)
}

impl Pointwise for Softsign {
    fn value(&self, x: f64) -> f64 {
        x / (1.0 + x.abs())
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        let b = x + d;
        if x * b >= 0.0 {
            d / ((1.0 + x.abs()) * (1.0 + b.abs()))
        } else {
            // The values have opposite signs, so nothing cancels.
            self.value(b) - self.value(x)
        }
    }

    fn slope(&self, x: f64) -> f64 {
        1.0 / (1.0 + x.abs()).powi(2)
    }

    /// PyTorch differentiates the quotient: two terms that cancel.
    fn slope_rounding(&self, x: f64) -> f64 {
        2.0 / (1.0 + x.abs())
    }
}
