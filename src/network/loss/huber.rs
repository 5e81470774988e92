//! Huber's loss: half of the squared error up to `delta`, and linear beyond; and smooth L1, which
//! is Huber's loss with `beta` for delta, divided by it.

use super::{
    Loss, LossSpec,
    entries::{Entries, Entry},
};
use crate::{error::Result, network::difference};

struct Huber {
    delta: f64,
    scale: f64,
}

pub(super) fn huber_loss(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let delta = spec.settings.number("delta", 1.0)?;
    new(spec, "delta", delta, 1.0)
}

pub(super) fn smooth_l1_loss(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let beta = spec.settings.number("beta", 1.0)?;
    new(spec, "beta", beta, 1.0 / beta)
}

fn new(spec: &mut LossSpec, name: &str, delta: f64, scale: f64) -> Result<Box<dyn Loss>> {
    if delta <= 0.0 {
        return Err(spec.failed(format!("its {name} must be above 0")));
    }
    Ok(Box::new(Entries::new(spec, Huber { delta, scale })?))
}

impl Entry for Huber {
    fn difference(&self, y: f64, t: f64, d: f64) -> f64 {
        // The loss is c (r - c / 2), with c the error r, limited to ±delta.
        let limited = |r: f64| r.clamp(-self.delta, self.delta);
        let r = y - t;
        let (c, to) = (limited(r), limited(r + d));
        let of_c = difference::of_clamp(r, d, -self.delta, self.delta);
        self.scale * (of_c * (r + d - to / 2.0) + c * (d - of_c / 2.0))
    }

    fn curvature(&self, _y: f64, _t: f64) -> f64 {
        self.scale
    }

    fn rounding(&self, _y: f64, _t: f64, g: f64) -> f64 {
        2.0 * g
    }
}
