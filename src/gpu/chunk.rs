//! The buffers of one range of rows, made once and used for every range.

use super::{Buffer, Device, kernel::TILE_ROWS};
use crate::{
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// [rows, k] unless said; m is the number of columns of the gradient, and d is padded.
pub(super) struct Chunk {
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
    /// [rows, m] a step; [k, m] of a parameter.
    pub(super) losses: Vec<Buffer>,
    /// [rows, m]: `linear` times dz/dx.
    pub(super) linear_product: Buffer,
    /// [rows, m]: the growth of each row's label, where the weight is bound in several windows.
    pub(super) at_label: Buffer,
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

impl Chunk {
    /// As many rows as the device's limits, its memory and the work at a time allow.
    pub(super) fn new(
        device: &Device,
        problem: &Problem,
        plan: &Plan,
        (d, m): (usize, usize),
        windows: usize,
    ) -> Self {
        let k = problem.k();
        let (binding, memory) = (device.most_elements(), device.memory_elements());
        let steps = plan.steps().count();
        let work = plan.rows_at_a_time(problem, device.most_multiply_adds());
        // Fewer rows leave tiles of the products empty.
        let least = match plan.method {
            Method::Difference => TILE_ROWS,
            Method::ForwardPass => 1,
        };
        let rows = (binding / d.max(k))
            .min(memory / 2 / (d + 6 * k + 2 * (steps + 2) * m))
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
        let one_hot = problem.is_one_hot();
        let is_product = (plan.method, plan.wrt) == (Method::Difference, Wrt::Input);
        let products = |needed: bool| if is_product && needed { rows * m } else { 0 };
        let buffer = |label, elements| device.empty(label, elements);
        Self {
            rows,
            input: buffer("input", rows * d),
            labels: buffer("labels", rows),
            totals: buffer("totals", rows),
            linear: buffer("linear", if one_hot { 0 } else { rows * k }),
            logits: buffer("logits", rows * k),
            magnitude: buffer("magnitude", rows * k),
            residual: buffer("residual", rows * k),
            gradient: buffer("gradient", rows * k),
            weights: buffer("weights", rows * k),
            bounds: buffer("bounds", rows * 2),
            losses: (0..steps).map(|_| buffer("losses", results)).collect(),
            linear_product: buffer("linear_product", products(!one_hot)),
            at_label: buffer("at_label", products(windows > 1)),
            product: buffer("product", results),
            copies: buffer("copies", copies * m),
            copies_logits: buffer("copies_logits", copies * k),
            copies_magnitude: buffer("copies_magnitude", copies * k),
            copies_at_a_time: copies,
        }
    }
}
