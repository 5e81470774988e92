//! Kullback and Leibler's divergence: t (log t - y), with y log probabilities; with
//! `log_target`, the target holds logarithms.

use super::{
    Loss, LossSpec,
    entries::{Entries, Entry},
};
use crate::error::Result;

struct Divergence {
    is_log: bool,
}

pub(super) fn new(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let is_log = spec.settings.flag("log_target")?;
    let reductions = ["mean", "batchmean", "sum"];
    let entries = Entries::of_each(spec, vec![Divergence { is_log }], &reductions)?;
    Ok(Box::new(entries))
}

impl Entry for Divergence {
    fn difference(&self, _y: f64, t: f64, d: f64) -> f64 {
        -d * if self.is_log { t.exp() } else { t }
    }

    fn curvature(&self, _y: f64, _t: f64) -> f64 {
        0.0
    }

    fn rounding(&self, _y: f64, t: f64, g: f64) -> f64 {
        g * if self.is_log { 1.0 + t.abs() } else { 1.0 }
    }
}
