//! Mean squared error: (y - t)².

use super::{
    Loss, LossSpec,
    entries::{Entries, Entry},
};
use crate::error::Result;

struct Square;

pub(super) fn new(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    Ok(Box::new(Entries::new(spec, Square)?))
}

impl Entry for Square {
    fn difference(&self, y: f64, t: f64, d: f64) -> f64 {
        d * (2.0 * (y - t) + d)
    }

    fn curvature(&self, _y: f64, _t: f64) -> f64 {
        2.0
    }

    fn rounding(&self, _y: f64, _t: f64, g: f64) -> f64 {
        2.0 * g
    }
}
