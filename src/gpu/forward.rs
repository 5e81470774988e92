//! The forward pass of a range of rows: logits, softmax minus target, and the conditioning's
//! weights.

use std::ops::Range;

use super::{
    Batch, Buffer, Element, GpuDevice, kernel::residual::Residual, sizes::Sizes, weight::Weight,
};
use crate::{
    cpu::logits,
    loss::TargetRows,
    problem::{Problem, Wrt},
    rounding::RoundingModel,
};

/// The operands and the results of the forward pass, [rows, k] unless stated otherwise.
pub(super) struct Forward {
    /// The input, [rows, d]. Empty if the logits are given.
    pub(super) input: Buffer,
    /// The labels, `[rows]`.
    pub(super) labels: Buffer,
    /// The totals R, `[rows]`.
    pub(super) totals: Buffer,
    /// The linear part, R onehot(label) - r. Empty if the targets have no linear part.
    pub(super) linear: Buffer,
    pub(super) logits: Buffer,
    magnitude: Buffer,
    /// The residual, p - onehot(label).
    pub(super) residual: Buffer,
    /// The gradient, R p - r.
    pub(super) gradient: Buffer,
    /// The conditioning with respect to the logits. Times |dz/dx| it is that of an entry.
    pub(super) conditioning: Buffer,
    /// The largest magnitude and the largest logit error of each row, [rows, 2].
    pub(super) bounds: Buffer,
    /// 1 for each row, if the plan differentiates with respect to the bias. The bias is the weight
    /// of an input that is 1.
    ones: Option<Buffer>,
    classes: usize,
    has_linear: bool,
}

/// The operands of a range of rows that the host keeps.
pub(super) struct Uploaded<T> {
    /// The input, padded; empty if the logits are given.
    pub(super) input: Vec<T>,
    /// The totals R.
    pub(super) totals: Vec<T>,
}

impl Forward {
    /// Creates the buffers.
    pub(super) fn new<T: Element>(device: &GpuDevice, sizes: &Sizes, wrt: Wrt) -> Self {
        let (rows, classes, has_linear) = (sizes.rows, sizes.classes, sizes.has_linear);
        let buffer = |label, elements| device.empty::<T>(label, elements);
        let ones = || device.upload("ones", &vec![T::one(); rows]);
        Self {
            input: buffer("input", rows * sizes.input.padded),
            labels: device.empty::<u32>("labels", rows),
            totals: buffer("totals", rows),
            linear: buffer("linear", if has_linear { rows * classes } else { 0 }),
            logits: buffer("logits", rows * classes),
            magnitude: buffer("magnitude", rows * classes),
            residual: buffer("residual", rows * classes),
            gradient: buffer("gradient", rows * classes),
            conditioning: buffer("conditioning", rows * classes),
            bounds: buffer("bounds", rows * 2),
            ones: (wrt == Wrt::Bias).then(ones),
            classes,
            has_linear,
        }
    }

    /// Writes the operands of a range of rows.
    pub(super) fn upload<T: Element>(
        &self,
        device: &GpuDevice,
        problem: &Problem,
        rows: Range<usize>,
        sizes: &Sizes,
    ) -> Uploaded<T> {
        let mut input = problem.samples().rows(rows.clone());
        if problem.is_of_logits() {
            let logits::Logits { logits, magnitude } = logits::given(&std::mem::take(&mut input));
            device.write(&self.logits, &logits);
            device.write(&self.magnitude, &magnitude);
        }
        let input = sizes.input.pad(input);
        let targets: TargetRows<T> = problem.target_rows(rows);
        device.write(&self.input, &input);
        device.write(&self.labels, &targets.labels);
        device.write(&self.totals, &targets.totals);
        if let Some(linear) = &targets.linear {
            device.write(&self.linear, linear);
        }
        Uploaded {
            input,
            totals: targets.totals,
        }
    }

    /// Appends the forward pass of the first `rows` rows.
    pub(super) fn run<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        weight: &Weight,
        model: RoundingModel,
        rows: usize,
    ) {
        let results = [&self.logits, &self.magnitude];
        weight.logits(batch, &self.input, results, rows);
        let launch = Residual {
            sums: model.sums,
            alike: model.alike,
            at_max: model.at_max,
            lost_at_max: model.lost_at_max,
            unit_roundoff: model.unit_roundoff,
            accumulation: model.accumulation,
            rows: rows as u32,
            classes: self.classes as u32,
            has_linear: u32::from(self.has_linear),
        };
        let operands = [
            &self.logits,
            &self.magnitude,
            &self.labels,
            &self.totals,
            &self.linear,
            &self.residual,
            &self.gradient,
            &self.conditioning,
            &self.bounds,
        ];
        batch.run(&launch, &operands);
    }

    /// Returns the derivative of a logit with respect to the parameter: the input, or ones for the
    /// bias.
    pub(super) fn multiplier(&self) -> &Buffer {
        self.ones.as_ref().unwrap_or(&self.input)
    }
}
