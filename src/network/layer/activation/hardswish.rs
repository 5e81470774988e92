//! x times the hard sigmoid of x.

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Hardswish;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    each(spec, Hardswish)
}

/// Returns x + 3, limited to 0 and 6.
fn gate(x: f64) -> f64 {
    (x + 3.0).clamp(0.0, 6.0)
}

impl Pointwise for Hardswish {
    fn value(&self, x: f64) -> f64 {
        x * gate(x) / 6.0
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        (d * gate(x + d) + x * difference::of_clamp(x, d, -3.0, 3.0)) / 6.0
    }

    /// At -3 it is 0, at 3 it is 1.
    fn slope(&self, x: f64) -> f64 {
        if x <= -3.0 {
            0.0
        } else if x >= 3.0 {
            1.0
        } else {
            x / 3.0 + 0.5
        }
    }

    fn rounding(&self, x: f64, _y: f64) -> f64 {
        x.abs()
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        x.abs() / 3.0 + 0.5
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        vec![(-3.0, 0.5), (3.0, 0.5)]
    }
}
