//! The buffers of one range of rows, made once and used for every range.

use super::{Buffer, Device};
use crate::{
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// [rows, k] unless said; m is the number of columns of the gradient.
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
    /// [rows, m] a step; [k, m] of a parameter.
    pub(super) losses: Vec<Buffer>,
    /// [rows, m]: `linear` times dz/dx.
    pub(super) linear_product: Buffer,
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
    pub(super) fn new(device: &Device, problem: &Problem, plan: &Plan) -> Self {
        let (d, k, m) = (problem.d(), problem.k(), problem.columns(plan.wrt));
        let (binding, memory) = (device.most_elements(), device.memory_elements());
        let steps = plan.steps().count();
        let rows = (binding / d.max(k))
            .min(memory / 2 / (d + 6 * k + (steps + 2) * m))
            .clamp(1, plan.rows_at_a_time(problem));
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
        let linear_product = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) if !one_hot => rows * m,
            _ => 0,
        };
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
            losses: (0..steps).map(|_| buffer("losses", results)).collect(),
            linear_product: buffer("linear_product", linear_product),
            product: buffer("product", results),
            copies: buffer("copies", copies * m),
            copies_logits: buffer("copies_logits", copies * k),
            copies_magnitude: buffer("copies_magnitude", copies * k),
            copies_at_a_time: copies,
        }
    }
}
