//! Losses that are sums over the entries of the output and of a target of its shape.

use std::ops::Range;

use super::Loss;
use crate::{
    network::{
        arithmetic::quadrature,
        layer::STEP,
        values::{At, Errors},
    },
    tensor::Tensor,
};

/// The loss of one entry y with target t.
pub(super) trait Entry: Send + Sync {
    /// The loss at y + d, minus that at y.
    fn difference(&self, y: f64, t: f64, d: f64) -> f64;

    /// The slope by PyTorch's conventions, if y lies on a kink.
    fn on_kink(&self, _y: f64, _t: f64) -> Option<f64> {
        None
    }

    /// The distance from y within which the loss is smooth.
    fn smooth_within(&self, _y: f64, _t: f64) -> f64 {
        f64::INFINITY
    }

    /// The largest change of the gradient by a kink or a pole, if y may be off by `near`.
    fn flip(&self, _y: f64, _t: f64, _near: f64) -> f64 {
        0.0
    }

    /// The largest slope of the gradient, in |y|.
    fn curvature(&self, y: f64, t: f64) -> f64;

    /// The magnitude whose rounding is that of computing the gradient g.
    fn rounding(&self, y: f64, t: f64, g: f64) -> f64;
}

/// A sum over entries.
pub(super) struct Entries<E> {
    pub(super) entry: E,
    /// [n, entries].
    pub(super) target: Tensor,
    pub(super) normalizer: f64,
}

impl<E: Entry> Loss for Entries<E> {
    fn difference(&self, rows: Range<usize>, y: &[f64], d: &[f64]) -> Vec<f64> {
        let width = self.target.columns();
        let target = self.target.rows::<f64>(rows);
        let of = |i: usize| self.entry.difference(y[i], target[i], d[i]);
        let row = |start: usize| (start..start + width).map(of).sum::<f64>() / self.normalizer;
        (0..y.len()).step_by(width).map(row).collect()
    }

    fn is_on_kink(&self, rows: Range<usize>, y: &[f64]) -> bool {
        let target = self.target.rows::<f64>(rows);
        let is_kink = |(&y, &t): (&f64, &f64)| self.entry.on_kink(y, t).is_some();
        y.iter().zip(&target).any(is_kink)
    }

    fn pull(&self, rows: Range<usize>, at: &At, gy: &mut [f64], errors: &mut Errors) {
        let target = self.target.rows::<f64>(rows);
        for (i, &y) in at.inputs[0].iter().enumerate() {
            let (t, of_y) = (target[i], at.of_inputs[0].smooth[i]);
            let mut step = STEP * y.abs().max(1.0);
            let smooth = self.entry.smooth_within(y, t);
            if smooth > 0.0 {
                step = step.min(smooth / 2.0);
            }
            if of_y > 0.0 {
                let flip = self.entry.flip(y, t, at.arithmetic.near(of_y));
                errors.flips[i] = flip / self.normalizer;
            }
            let side = |d: f64| self.entry.difference(y, t, d);
            let central = || (side(step) - side(-step)) / (2.0 * step);
            let g = self.entry.on_kink(y, t).unwrap_or_else(central);
            gy[i] = g / self.normalizer;
            errors.smooth[i] = quadrature([
                self.entry.curvature(y, t) * of_y / self.normalizer,
                self.entry.rounding(y, t, g) / self.normalizer,
                at.arithmetic.of_result(gy[i]),
                gy[i],
            ]);
        }
    }
}
