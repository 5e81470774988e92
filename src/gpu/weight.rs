//! The weight and the bias on the device, and the products with them.

use std::ops::Range;

use super::{
    Batch, Buffer, Columns, Element, GpuDevice,
    kernel::{logits::Logits, matmul::Matmul},
    tiles::tiles,
};
use crate::{
    budget::{DISPATCH_COLUMNS, DISPATCH_TERMS},
    cpu::difference::growth,
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// The operands that do not depend on the samples.
pub(super) struct Weight {
    pub(super) windows: Vec<Window>,
    bias: Buffer,
    /// The columns of the weight, d.
    columns: Columns,
    /// The number of classes, k.
    classes: usize,
}

/// A range of rows of the weight that fits in one binding.
pub(super) struct Window {
    pub(super) classes: Range<usize>,
    /// The rows, [classes, d].
    weight: Buffer,
    /// The growths expm1(step·W)/step, [steps, classes, d]. Empty unless [`needs_growths`] returns
    /// true.
    pub(super) growths: Buffer,
}

/// Returns true if a plan takes loss differences with respect to the input.
pub(super) fn needs_growths(plan: &Plan) -> bool {
    (plan.method, plan.wrt) == (Method::Difference, Wrt::Input)
}

impl Weight {
    /// Uploads the bias, and the weight in windows that fit in one binding. There is no window if
    /// the logits are given.
    pub(super) fn new<T: Element>(device: &GpuDevice, problem: &Problem, plan: &Plan) -> Self {
        let columns = Columns::padded(problem.d());
        let tables = if needs_growths(plan) {
            plan.steps().count()
        } else {
            1
        };
        // One binding holds the growths of all steps.
        let length = (device.binding_elements::<T>() / columns.padded.max(1) / tables).max(1);
        let k = problem.k();
        let classes = if problem.is_of_logits() { 0 } else { k };
        let windows = (0..classes).step_by(length).map(|begin| {
            let classes = begin..k.min(begin + length);
            Window::new::<T>(device, problem, plan, classes, columns)
        });
        Self {
            windows: windows.collect(),
            bias: device.upload("bias", &problem.bias::<T>()),
            columns,
            classes: k,
        }
    }

    /// Appends the logits of `rows` rows of input, and their magnitudes.
    pub(super) fn logits<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        input: &Buffer,
        [logits, magnitude]: [&Buffer; 2],
        rows: usize,
    ) {
        for Window {
            classes, weight, ..
        } in &self.windows
        {
            for [tile_begin, tile_end] in tiles(0..self.columns.count, DISPATCH_COLUMNS) {
                let launch = Logits {
                    rows: rows as u32,
                    columns: self.columns.padded as u32,
                    classes: self.classes as u32,
                    class_begin: classes.start as u32,
                    class_end: classes.end as u32,
                    tile_begin,
                    tile_end,
                };
                batch.run(&launch, &[input, weight, &self.bias, logits, magnitude]);
            }
        }
    }

    /// Appends left · W / normalizer, `[rows, k]` · `[k, d]`, or left · |W| / normalizer if
    /// `magnitudes` is set.
    pub(super) fn product<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        [left, product]: [&Buffer; 2],
        rows: usize,
        normalizer: f64,
        magnitudes: bool,
    ) {
        for window in &self.windows {
            for [tile_begin, tile_end] in tiles(window.classes.clone(), DISPATCH_TERMS) {
                let launch = Matmul {
                    normalizer,
                    rows: rows as u32,
                    columns: self.columns.padded as u32,
                    classes: self.classes as u32,
                    class_begin: window.classes.start as u32,
                    tile_begin,
                    tile_end,
                    magnitudes: u32::from(magnitudes),
                };
                batch.run(&launch, &[left, &window.weight, product]);
            }
        }
    }
}

impl Window {
    fn new<T: Element>(
        device: &GpuDevice,
        problem: &Problem,
        plan: &Plan,
        classes: Range<usize>,
        columns: Columns,
    ) -> Self {
        let growths = if needs_growths(plan) {
            let slopes: Vec<f64> = problem.weight().rows(classes.clone());
            let table = |step| columns.pad(growth::<T>(&slopes, step));
            let tables: Vec<T> = plan.steps().flat_map(table).collect();
            device.upload("growths", &tables)
        } else {
            device.empty::<T>("growths", 0)
        };
        let weight: Vec<T> = columns.pad(problem.weight().rows(classes.clone()));
        Self {
            classes,
            weight: device.upload("weight", &weight),
            growths,
        }
    }
}
