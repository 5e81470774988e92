//! The buffers of one range of rows, made once and used for every range.

use super::{Buffer, Element, GpuDevice, classes_a_dispatch, kernel::TILE_ROWS};
use crate::{
    budget,
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// [rows, k] unless said; m is the number of columns of the gradient, and d is padded.
pub(super) struct ChunkBuffers {
    /// How many rows fit.
    pub(super) rows: usize,
    /// [rows, d].
    pub(super) input: Buffer,
    /// One a row.
    pub(super) labels: Buffer,
    /// One a row: R.
    pub(super) totals: Buffer,
    /// R onehot(label) - r; one element where that is 0 everywhere.
    pub(super) linear: Buffer,
    pub(super) logits: Buffer,
    pub(super) magnitude: Buffer,
    /// p - onehot(label).
    pub(super) residual: Buffer,
    /// R p - r.
    pub(super) gradient: Buffer,
    /// What |dz/dx| is multiplied by in the conditioning.
    pub(super) weights: Buffer,
    /// [rows, 2]: how far the logits of each row may have moved.
    pub(super) bounds: Buffer,
    /// [rows, m]; [k, m] of a parameter. `difference` only.
    pub(super) derivative: Buffer,
    /// [rows, m] a step; `forward-pass` only.
    pub(super) losses: Vec<Buffer>,
    /// [rows, m]: `linear` times dz/dx.
    pub(super) linear_product: Buffer,
    /// [steps, 2, rows, m]: what one dispatch leaves to the next, where the classes take several.
    pub(super) carried: Buffer,
    /// [rows, m], or [k, m] of a parameter: the conditioning, or the backward pass.
    pub(super) product: Buffer,
    /// Perturbed copies of rows, [copies, m]; `forward-pass` only, as the next two.
    pub(super) copies: Buffer,
    /// [copies, k].
    pub(super) copies_logits: Buffer,
    /// [copies, k].
    pub(super) copies_magnitude: Buffer,
    /// How many copies fit.
    pub(super) copies_at_a_time: usize,
}

impl ChunkBuffers {
    /// As many rows as the device's limits, its memory and the work at a time allow.
    pub(super) fn new<T: Element>(
        device: &GpuDevice,
        problem: &Problem,
        plan: &Plan,
        (d, m): (usize, usize),
        windows: usize,
        compares: bool,
    ) -> Self {
        let k = problem.k();
        let (binding, memory) = (device.most_elements::<T>(), device.memory_elements::<T>());
        let steps = plan.steps().count();
        let work = budget::rows(problem, plan.derivative(), device.most_multiply_adds());
        // Fewer rows leave tiles of the products empty.
        let least = match plan.method {
            Method::Difference => TILE_ROWS,
            Method::ForwardPass => 1,
        };
        let is_product = (plan.method, plan.wrt) == (Method::Difference, Wrt::Input);
        let one_hot = problem.is_one_hot();
        let has_linear = is_product && !one_hot;
        let carries = is_product && (windows > 1 || k > classes_a_dispatch(steps));
        let losses = match plan.method {
            Method::Difference => 0,
            Method::ForwardPass => steps,
        };
        let carried = if carries { 2 * steps } else { 0 };
        // Results twice: they are copied to where the host reads them. And the gradient that is compared on the device.
        let results = 2 * (losses + 2) + usize::from(has_linear) + carried + usize::from(compares);
        let rows = (binding / d.max(k).max(carried * m))
            .min(memory / 2 / (d + 6 * k + results * m))
            .min((device.most_entries() / m).max(least))
            .clamp(1, work.max(least).min(problem.n()));
        let copies = match plan.method {
            Method::Difference => 0,
            Method::ForwardPass => (binding / m.max(k))
                .min(memory / 2 / (m + 2 * k))
                .clamp(1, rows * m),
        };
        // Of a parameter a row gives nothing of its own: all of them add to [k, m].
        let results = if plan.wrt.is_parameter() {
            k * m
        } else {
            rows * m
        };
        let derivative = match plan.method {
            Method::Difference => results,
            Method::ForwardPass => 0,
        };
        let buffer = |label, elements| device.empty::<T>(label, elements);
        Self {
            rows,
            input: buffer("input", rows * d),
            labels: device.empty::<u32>("labels", rows),
            totals: buffer("totals", rows),
            linear: buffer("linear", if one_hot { 0 } else { rows * k }),
            logits: buffer("logits", rows * k),
            magnitude: buffer("magnitude", rows * k),
            residual: buffer("residual", rows * k),
            gradient: buffer("gradient", rows * k),
            weights: buffer("weights", rows * k),
            bounds: buffer("bounds", rows * 2),
            derivative: buffer("derivative", derivative),
            losses: (0..losses).map(|_| buffer("losses", results)).collect(),
            linear_product: buffer("linear_product", if has_linear { rows * m } else { 0 }),
            carried: buffer("carried", carried * rows * m),
            product: buffer("product", results),
            copies: buffer("copies", copies * m),
            copies_logits: buffer("copies_logits", copies * k),
            copies_magnitude: buffer("copies_magnitude", copies * k),
            copies_at_a_time: copies,
        }
    }
}
