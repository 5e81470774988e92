//! Binary cross-entropy of probabilities, and of logits.

use super::{
    Loss, LossSpec,
    entries::{Entries, Entry},
};
use crate::{error::Result, network::difference};

struct OfProbabilities;
struct OfLogits {
    positive: f64,
}

/// -(t log y + (1 - t) log(1 - y)), with logarithms of at least -100.
pub(super) fn of_probabilities(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    Ok(Box::new(Entries::new(spec, OfProbabilities)?))
}

/// (1 - t) z + (1 + (`pos_weight` - 1) t) log(1 + exp(-z)). `pos_weight` is a number, or a
/// tensor for the last axis.
pub(super) fn of_logits(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let positive = match (
        spec.settings.optional_number("pos_weight")?,
        spec.optional("pos_weight"),
    ) {
        (Some(one), _) => vec![one],
        (None, None) => vec![1.0],
        (None, Some(tensor)) => {
            let (found, last) = (tensor.shape(), spec.shape.last());
            if found != last.copied().as_slice() || !tensor.is_finite() {
                let reason = format!("pos_weight has shape {found:?}, not that of the last axis");
                return Err(spec.failed(reason));
            }
            tensor.values()
        }
    };
    let entries = positive.into_iter().map(|positive| OfLogits { positive });
    let entries = Entries::of_each(spec, entries.collect(), &["mean", "sum"])?;
    Ok(Box::new(entries))
}

/// The step near a pole, relative to the distance from it.
const NEAR: f64 = 1e-8;
/// The least denominator y (1 - y) of PyTorch's gradient: 1e-12 in f32, in every type.
const LEAST: f64 = 1e-12f32 as f64;

impl Entry for OfProbabilities {
    fn difference(&self, y: f64, t: f64, d: f64) -> f64 {
        let one = if t == 0.0 { 0.0 } else { t * (d / y).ln_1p() };
        let other = if t == 1.0 {
            0.0
        } else {
            (1.0 - t) * (-d / (1.0 - y)).ln_1p()
        };
        -(one + other)
    }

    /// Close to 0 and 1, PyTorch's gradient is that of another function.
    fn on_kink(&self, y: f64, t: f64) -> Option<f64> {
        let denominator = y * (1.0 - y);
        (denominator <= LEAST).then(|| (y - t) / denominator.max(LEAST))
    }

    fn smooth_within(&self, y: f64, _t: f64) -> f64 {
        NEAR * y.min(1.0 - y)
    }

    fn flip(&self, y: f64, t: f64, near: f64) -> f64 {
        if near < y.min(1.0 - y) / 2.0 {
            return 0.0;
        }
        // A program may have 0 or 1, where its gradient is 0 or that at the pole.
        ((y - t).abs() + near) / LEAST
    }

    fn curvature(&self, y: f64, t: f64) -> f64 {
        if y * (1.0 - y) <= LEAST {
            return 1.0 / LEAST;
        }
        let of = |share: f64, p: f64| if share == 0.0 { 0.0 } else { share / (p * p) };
        of(t, y) + of(1.0 - t, 1.0 - y)
    }

    fn rounding(&self, y: f64, t: f64, g: f64) -> f64 {
        // y - t and 1 - y cancel.
        let own = (y.abs() + t.abs()) / (y * (1.0 - y)).max(LEAST);
        3.0 * g.abs()
            + if t == 0.0 || t == 1.0 {
                g.abs() / (1.0 - y).max(LEAST)
            } else {
                own
            }
    }
}

impl Entry for OfLogits {
    fn difference(&self, y: f64, t: f64, d: f64) -> f64 {
        let weight = 1.0 + (self.positive - 1.0) * t;
        let of_log = (difference::sigmoid(-y) * (-d).exp_m1()).ln_1p();
        if t == 1.0 {
            return weight * of_log;
        }
        if t == 0.0 {
            return difference::of_softplus(y, d);
        }
        (1.0 - t) * d + weight * of_log
    }

    fn flip(&self, y: f64, t: f64, near: f64) -> f64 {
        // Beyond what the curvature at y explains.
        let weight = 1.0 + (self.positive - 1.0) * t;
        let slope = |y: f64| weight * difference::sigmoid(-y);
        let change = |to: f64| (slope(to) - slope(y)).abs();
        let most = change(y + near).max(change(y - near));
        (most - self.curvature(y, t) * near).max(0.0)
    }

    fn curvature(&self, y: f64, t: f64) -> f64 {
        let weight = 1.0 + (self.positive - 1.0) * t;
        weight * difference::sigmoid(y) * difference::sigmoid(-y)
    }

    fn rounding(&self, _y: f64, t: f64, g: f64) -> f64 {
        let weight = 1.0 + (self.positive - 1.0) * t;
        weight.max(1.0) + g.abs()
    }
}
