//! The derivative of a range of rows by loss differences.

use super::{
    Batch, Buffer, Element, GpuDevice,
    forward::Forward,
    kernel::{
        difference::Difference, difference_logits::DifferenceLogits,
        difference_weight::DifferenceWeight, params::Steps,
    },
    sizes::Sizes,
    tiles::{terms, tiles},
    weight::{Weight, needs_growths},
};
use crate::{plan::Plan, problem::Wrt};

/// The buffers of `difference`.
pub(super) struct Derivative {
    /// The derivative: [rows, m], or [k, m] with respect to a parameter.
    pub(super) derivative: Buffer,
    /// The linear part of the targets times W, [rows, m]. Empty if there is no linear part.
    linear: Buffer,
    /// The partial sums that a dispatch leaves for the next one, [steps, 2, rows, m]. Empty if one
    /// dispatch adds all classes.
    carried: Buffer,
    steps: Steps,
}

impl Derivative {
    /// Creates the buffers.
    pub(super) fn new<T: Element>(device: &GpuDevice, sizes: &Sizes, plan: &Plan) -> Self {
        let entries = sizes.entries(sizes.rows);
        let has_product = sizes.has_linear && needs_growths(plan);
        Self {
            derivative: device.empty::<T>("derivative", entries),
            linear: device.empty::<T>("linear product", if has_product { entries } else { 0 }),
            carried: device.empty::<T>("carried", sizes.carried * entries),
            steps: Steps::new(plan.quotients()),
        }
    }

    /// Appends the derivative of the first `rows` rows.
    pub(super) fn run<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        forward: &Forward,
        weight: &Weight,
        sizes: &Sizes,
        wrt: Wrt,
        rows: usize,
    ) {
        match wrt {
            Wrt::Input => self.by_input(batch, forward, weight, sizes, rows),
            Wrt::Logits => self.by_logits(batch, forward, sizes, rows),
            Wrt::Weight | Wrt::Bias => self.by_parameter(batch, forward, sizes, rows),
        }
    }

    fn by_input<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        forward: &Forward,
        weight: &Weight,
        sizes: &Sizes,
        rows: usize,
    ) {
        if sizes.has_linear {
            weight.product(batch, [&forward.linear, &self.linear], rows, 1.0, false);
        }
        for window in &weight.windows {
            let operands = [
                &forward.residual,
                &window.growths,
                &forward.labels,
                &forward.totals,
                &self.linear,
                &self.carried,
                &self.derivative,
            ];
            for [tile_begin, tile_end] in tiles(window.classes.clone(), terms(sizes.steps)) {
                let launch = Difference {
                    steps: self.steps,
                    rows: rows as u32,
                    columns: sizes.columns.padded as u32,
                    classes: sizes.classes as u32,
                    class_begin: window.classes.start as u32,
                    class_end: window.classes.end as u32,
                    tile_begin,
                    tile_end,
                    has_linear: u32::from(sizes.has_linear),
                };
                batch.run(&launch, &operands);
            }
        }
    }

    fn by_logits<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        forward: &Forward,
        sizes: &Sizes,
        rows: usize,
    ) {
        let launch = DifferenceLogits {
            steps: self.steps,
            rows: rows as u32,
            classes: sizes.classes as u32,
            has_linear: u32::from(sizes.has_linear),
        };
        let operands = [
            &forward.residual,
            &forward.labels,
            &forward.totals,
            &forward.linear,
            &self.derivative,
        ];
        batch.run(&launch, &operands);
    }

    fn by_parameter<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        forward: &Forward,
        sizes: &Sizes,
        rows: usize,
    ) {
        let operands = [
            &forward.residual,
            forward.multiplier(),
            &forward.labels,
            &forward.totals,
            &forward.linear,
            &self.derivative,
        ];
        for [tile_begin, tile_end] in tiles(0..rows, terms(sizes.steps)) {
            let launch = DifferenceWeight {
                steps: self.steps,
                columns: sizes.columns.padded as u32,
                classes: sizes.classes as u32,
                tile_begin,
                tile_end,
                has_linear: u32::from(sizes.has_linear),
            };
            batch.run(&launch, &operands);
        }
    }
}
