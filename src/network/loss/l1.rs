//! Mean absolute error: |y - t|.

use super::{
    Loss, LossSpec,
    entries::{Entries, Entry},
};
use crate::{error::Result, network::difference};

struct Absolute;

pub(super) fn new(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    Ok(Box::new(Entries::new(spec, Absolute)?))
}

impl Entry for Absolute {
    fn difference(&self, y: f64, t: f64, d: f64) -> f64 {
        difference::of_abs(y - t, d)
    }

    fn on_kink(&self, y: f64, t: f64) -> Option<f64> {
        (y == t).then_some(0.0)
    }

    fn smooth_within(&self, y: f64, t: f64) -> f64 {
        (y - t).abs()
    }

    fn flip(&self, y: f64, t: f64, near: f64) -> f64 {
        if (y - t).abs() <= near { 2.0 } else { 0.0 }
    }

    fn curvature(&self, _y: f64, _t: f64) -> f64 {
        0.0
    }

    fn rounding(&self, _y: f64, _t: f64, g: f64) -> f64 {
        g
    }
}
