//! Losses that are sums over the entries of the output and of a target of its shape.

use std::ops::Range;

use super::{Loss, LossSpec};
use crate::{
    error::Result,
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
    /// The loss of each entry along the last axis, or of all.
    entries: Vec<E>,
    /// [n, entries].
    target: Tensor,
    /// The upstream gradient of the losses: [n, 1] or [n, entries].
    weight: Option<Tensor>,
    normalizer: f64,
}

impl<E: Entry> Entries<E> {
    /// Makes a loss of all entries.
    ///
    /// # Errors
    /// Those of [`Entries::of_each`].
    pub(super) fn new(spec: &mut LossSpec, entry: E) -> Result<Self> {
        Self::of_each(spec, vec![entry], &["mean", "sum"])
    }

    /// Makes a loss of entries along the last axis.
    ///
    /// # Errors
    /// Those of [`LossSpec::like_output`], [`LossSpec::sample_weight`] and
    /// [`LossSpec::normalizer`].
    pub(super) fn of_each(
        spec: &mut LossSpec,
        entries: Vec<E>,
        reductions: &[&'static str],
    ) -> Result<Self> {
        Ok(Self {
            entries,
            target: spec.like_output("target")?,
            weight: spec.sample_weight(spec.shape)?,
            normalizer: spec.normalizer(reductions)?,
        })
    }

    /// Returns the loss of an entry, counted from that of the first sample.
    fn entry(&self, i: usize) -> &E {
        &self.entries[i % self.entries.len()]
    }

    /// Returns what the losses of these rows are multiplied by.
    fn scales(&self, rows: Range<usize>) -> Vec<f64> {
        let width = self.target.columns();
        let Some(weight) = &self.weight else {
            return vec![1.0 / self.normalizer; rows.len() * width];
        };
        let (weights, columns) = (weight.rows::<f64>(rows.clone()), weight.columns());
        let place = |i: usize| i / width * columns + i % width % columns;
        let of = |i: usize| weights[place(i)] / self.normalizer;
        (0..rows.len() * width).map(of).collect()
    }
}

impl<E: Entry> Loss for Entries<E> {
    fn difference(&self, rows: Range<usize>, y: &[f64], d: &[f64]) -> Vec<f64> {
        let width = self.target.columns();
        let (target, scales) = (self.target.rows::<f64>(rows.clone()), self.scales(rows));
        let of = |i: usize| scales[i] * self.entry(i).difference(y[i], target[i], d[i]);
        let row = |start: usize| (start..start + width).map(of).sum::<f64>();
        (0..y.len()).step_by(width).map(row).collect()
    }

    fn normalizer(&self) -> f64 {
        self.normalizer
    }

    fn is_on_kink(&self, rows: Range<usize>, y: &[f64]) -> bool {
        let target = self.target.rows::<f64>(rows);
        (0..y.len()).any(|i| self.entry(i).on_kink(y[i], target[i]).is_some())
    }

    fn pull(&self, rows: Range<usize>, at: &At, gy: &mut [f64], errors: &mut Errors) {
        let (target, scales) = (self.target.rows::<f64>(rows.clone()), self.scales(rows));
        for (i, &y) in at.inputs[0].iter().enumerate() {
            let (t, of_y, entry) = (target[i], at.of_inputs[0].smooth[i], self.entry(i));
            let (scale, size) = (scales[i], scales[i].abs());
            let mut step = STEP * y.abs().max(1.0);
            let smooth = entry.smooth_within(y, t);
            if smooth > 0.0 {
                step = step.min(smooth / 2.0);
            }
            if of_y > 0.0 {
                let flip = entry.flip(y, t, at.arithmetic.near(of_y));
                errors.flips[i] = size * flip;
            }
            let side = |d: f64| entry.difference(y, t, d);
            let central = || (side(step) - side(-step)) / (2.0 * step);
            let g = entry.on_kink(y, t).unwrap_or_else(central);
            gy[i] = scale * g;
            errors.smooth[i] = quadrature([
                size * entry.curvature(y, t) * of_y,
                size * entry.rounding(y, t, g),
                at.arithmetic.of_result(gy[i]),
                gy[i],
            ]);
        }
    }
}
