//! The losses of perturbed copies of a range of rows, by plain forward passes.

use super::{
    Batch, Buffer, Element, GpuDevice,
    forward::Forward,
    kernel::{loss::Loss, perturb::Perturb},
    sizes::Sizes,
    weight::Weight,
};
use crate::{plan::Plan, problem::Wrt};

/// The buffers of `forward-pass`.
pub(super) struct Losses {
    /// The losses of each step, [rows, m].
    pub(super) losses: Vec<Buffer>,
    steps: Vec<f64>,
    /// Perturbed copies of rows, [copies, m].
    copies: Buffer,
    /// The logits of the copies, [copies, k].
    logits: Buffer,
    /// The magnitudes of these logits, [copies, k].
    magnitude: Buffer,
}

impl Losses {
    /// Creates the buffers.
    pub(super) fn new<T: Element>(device: &GpuDevice, sizes: &Sizes, plan: &Plan) -> Self {
        let (k, copies) = (sizes.classes, sizes.copies);
        let steps: Vec<f64> = plan.steps().collect();
        let losses = |_| device.empty::<T>("losses", sizes.entries(sizes.rows));
        Self {
            losses: steps.iter().map(losses).collect(),
            steps,
            copies: device.empty::<T>("copies", copies * sizes.columns.padded),
            logits: device.empty::<T>("copies' logits", copies * k),
            magnitude: device.empty::<T>("copies' magnitude", copies * k),
        }
    }

    /// Appends the losses of the first `rows` rows, with each entry moved by each step. Takes a
    /// buffer of copies at a time.
    pub(super) fn run<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        forward: &Forward,
        weight: &Weight,
        sizes: &Sizes,
        wrt: Wrt,
        rows: usize,
    ) {
        let (base, logits) = match wrt {
            Wrt::Input => (&forward.input, &self.logits),
            _ => (&forward.logits, &self.copies),
        };
        let (entries, columns) = (sizes.entries(rows), sizes.columns.padded as u32);
        for (&step, losses) in self.steps.iter().zip(&self.losses) {
            for first in (0..entries).step_by(sizes.copies) {
                let count = sizes.copies.min(entries - first);
                let perturb = Perturb {
                    step,
                    rows: count as u32,
                    columns,
                    first: first as u32,
                };
                batch.run(&perturb, &[base, &self.copies]);
                if wrt == Wrt::Input {
                    let results = [&self.logits, &self.magnitude];
                    weight.logits(batch, &self.copies, results, count);
                }
                let loss = Loss {
                    rows: count as u32,
                    columns,
                    classes: sizes.classes as u32,
                    first: first as u32,
                    has_linear: u32::from(sizes.has_linear),
                };
                let (labels, totals) = (&forward.labels, &forward.totals);
                let operands = [logits, labels, totals, &forward.linear, losses];
                batch.run(&loss, &operands);
            }
        }
    }
}
