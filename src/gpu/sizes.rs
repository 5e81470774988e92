//! The sizes of the buffers for one call of the engine.

use super::{
    Columns, Element, GpuDevice,
    kernel::TILE_ROWS,
    tiles,
    weight::{Weight, needs_growths},
};
use crate::{
    budget,
    cpu::ordered::PARTS,
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// Fewest samples of a call with respect to a parameter. Chosen: the error of a shorter sum is
/// small whatever its partial sums.
const LEAST_PART: usize = 64;

/// The sizes of the buffers for one call, in elements.
pub(super) struct Sizes {
    /// The largest number of rows per call.
    pub(super) rows: usize,
    /// The columns of the input, d.
    pub(super) input: Columns,
    /// The columns of the gradient, m.
    pub(super) columns: Columns,
    /// The number of classes, k.
    pub(super) classes: usize,
    /// Rows of the gradient, k, if it is that of a parameter. `None` if each sample has a row.
    gradient_rows: Option<usize>,
    /// Steps of the scheme.
    pub(super) steps: usize,
    /// True if the targets have a linear part.
    pub(super) has_linear: bool,
    /// Elements of `carried` for each entry: 0 if one dispatch adds all classes.
    pub(super) carried: usize,
    /// Perturbed copies of rows to evaluate at a time; `forward-pass` only.
    pub(super) copies: usize,
}

impl Sizes {
    /// Computes the sizes. The device's limits, its memory and the work of a call limit the number
    /// of rows.
    pub(super) fn new<T: Element>(
        device: &GpuDevice,
        problem: &Problem,
        plan: &Plan,
        weight: &Weight,
        compares: bool,
    ) -> Self {
        let mut sizes = Self::of_row(problem, plan, weight);
        let (k, d, m) = (sizes.classes, sizes.input.padded, sizes.columns.padded);
        let (binding, memory) = (
            device.binding_elements::<T>(),
            device.memory_elements::<T>(),
        );
        let (losses, least) = match plan.method {
            // Fewer rows leave tiles of the products empty.
            Method::Difference => (0, TILE_ROWS),
            Method::ForwardPass => (sizes.steps, 1),
        };
        let has_product = sizes.has_linear && needs_growths(plan);
        // Results take their memory twice, because they are copied to buffers that the host maps.
        let results =
            2 * (losses + 2) + usize::from(has_product) + sizes.carried + usize::from(compares);
        let work = budget::rows(problem, plan.derivative(), device.most_multiply_adds());
        sizes.rows = (binding / d.max(k).max(sizes.carried * m))
            .min(memory / 2 / (d + 6 * k + results * m))
            .min((device.most_entries() / m).max(least))
            .clamp(1, work.max(least).min(problem.n()));
        if plan.wrt.is_parameter() {
            // The partial sums between calls show how large a sum becomes on the way.
            let part = problem.n().div_ceil(PARTS).max(LEAST_PART);
            sizes.rows = sizes.rows.min(part);
        }
        if plan.method == Method::ForwardPass {
            sizes.copies = (binding / m.max(k))
                .min(memory / 2 / (m + 2 * k))
                .clamp(1, sizes.rows * m);
        }
        sizes
    }

    /// Returns the sizes for one row.
    fn of_row(problem: &Problem, plan: &Plan, weight: &Weight) -> Self {
        let (steps, classes) = (plan.steps().count(), problem.k());
        let carries =
            needs_growths(plan) && (weight.windows.len() > 1 || classes > tiles::terms(steps));
        let columns = problem.columns(plan.wrt);
        Self {
            rows: 1,
            input: Columns::padded(problem.d()),
            columns: match plan.wrt {
                Wrt::Input | Wrt::Weight => Columns::padded(columns),
                Wrt::Logits | Wrt::Bias => Columns::plain(columns),
            },
            classes,
            gradient_rows: plan.wrt.is_parameter().then_some(classes),
            steps,
            has_linear: !problem.is_one_hot(),
            carried: if carries { 2 * steps } else { 0 },
            copies: 0,
        }
    }

    /// Returns the entries of the gradient that a call for `rows` rows computes, with their
    /// padding.
    pub(super) fn entries(&self, rows: usize) -> usize {
        self.gradient_rows.unwrap_or(rows) * self.columns.padded
    }
}
