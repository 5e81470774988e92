//! The GPU engine, the only module that names wgpu: it uploads a range of rows, strings the kernels together and
//! reads losses back. Shaders compute in f32, or where the adapter has it in f64; losses are subtracted on the host, in f64.

use std::{collections::VecDeque, ops::Range};

use crate::{
    budget::{DISPATCH_COLUMNS, DISPATCH_TERMS},
    cpu::difference::growth,
    engine::{Allowance, DeviceComparison, Evaluation, RowSource},
    error::Result,
    loss::TargetRows,
    plan::Plan,
    problem::{Problem, Wrt},
    rounding::RoundingModel,
    scheme::Method,
    tensor::Tensor,
};

mod adapter;
mod batch;
mod chunk;
mod comparison;
mod device;
mod element;
mod engine;
mod evaluated;
mod kernel;
mod params;
mod probe;
mod readback;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use batch::{Batch, Pending};
pub use comparison::{ComparisonPass, disagreement};
pub use device::{Buffer, GpuDevice};
pub use element::Element;
pub use evaluated::Evaluated;
pub use kernel::{Binding, Kernel, TILE_COLUMNS};
pub use params::Params;
pub use readback::Readback;

use chunk::ChunkBuffers;
use evaluated::{Base, Results, unpadded};

/// The classes that a dispatch for so many steps adds up.
fn classes_a_dispatch(steps: usize) -> usize {
    DISPATCH_TERMS / steps
}

/// The engine for one problem and one plan: operands that do not depend on the rows stay on the device.
pub struct Gpu<'a, T> {
    device: &'a GpuDevice,
    problem: &'a Problem,
    plan: Plan,
    /// d, padded with features that are 0 to a multiple of [`TILE_COLUMNS`].
    padded: usize,
    /// Columns of the gradient, and the same with their padding.
    columns: [usize; 2],
    windows: Vec<Window>,
    bias: Buffer,
    /// 1 for each row, with respect to the bias only.
    ones: Buffer,
    chunk: ChunkBuffers,
    ahead: VecDeque<Ahead<T>>,
    /// Where the device compares.
    comparing: Option<ComparisonPass>,
    /// Rows whose comparison was submitted.
    compared: VecDeque<(Range<usize>, Pending)>,
}

/// As much of the weight as one binding holds.
struct Window {
    classes: Range<usize>,
    /// [classes, d].
    weight: Buffer,
    /// expm1(step·W)/step, [steps, classes, d]: `difference` with respect to the input only.
    growths: Buffer,
}

/// Rows whose evaluation was submitted.
struct Ahead<T> {
    /// What is perturbed, where the host has it; `forward-pass` with respect to the input only.
    base: Vec<T>,
    /// R.
    totals: Vec<T>,
    results: Pending,
}

impl<'a, T: Element> Gpu<'a, T> {
    /// Uploads what does not depend on the rows and makes the buffers for what does.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn new(device: &'a GpuDevice, problem: &'a Problem, plan: Plan) -> Result<Self> {
        Self::with(device, problem, plan, None)
    }

    /// The same, to compare with a gradient on the device as well: by `difference`, not of a parameter.
    ///
    /// # Errors
    /// Likewise.
    pub fn comparing(
        device: &'a GpuDevice,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Self> {
        Self::with(device, problem, plan, Some(allowance))
    }

    fn with(
        device: &'a GpuDevice,
        problem: &'a Problem,
        plan: Plan,
        allowance: Option<&Allowance>,
    ) -> Result<Self> {
        let (k, binding) = (problem.k(), device.most_elements::<T>());
        let padded = problem.d().next_multiple_of(TILE_COLUMNS);
        let of_parameter = match plan.wrt {
            Wrt::Weight => k * padded,
            _ => 0,
        };
        for (what, elements) in [
            ("the weight's gradient", of_parameter),
            ("a row of the input", padded),
            ("a row of the logits", k),
        ] {
            if elements > binding {
                return Err(device.failed(format!(
                    "{what} has {elements} elements, and it binds at most {binding}"
                )));
            }
        }
        let columns = problem.columns(plan.wrt);
        let columns = match plan.wrt {
            Wrt::Input | Wrt::Weight => [columns, padded],
            Wrt::Logits | Wrt::Bias => [columns, columns],
        };
        let tables = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => plan.steps().count(),
            _ => 1,
        };
        // The tables of all steps are bound at once.
        let at_once = (binding / padded / tables).max(1);
        let windows = (0..k).step_by(at_once).map(|begin| {
            let classes = begin..k.min(begin + at_once);
            Window::upload::<T>(device, problem, &plan, classes, padded)
        });
        let windows: Vec<Window> = windows.collect();
        let sizes = (padded, columns[1]);
        let compares = allowance.is_some();
        let chunk = ChunkBuffers::new::<T>(device, problem, &plan, sizes, windows.len(), compares);
        let comparing = allowance
            .map(|allowance| ComparisonPass::new::<T>(device, allowance, chunk.rows, columns[1]));
        device.check()?;
        Ok(Self {
            device,
            problem,
            plan,
            padded,
            columns,
            windows,
            bias: device.upload("bias", &problem.bias::<T>()),
            ones: device.upload(
                "ones",
                &vec![T::one(); if plan.wrt == Wrt::Bias { chunk.rows } else { 1 }],
            ),
            chunk,
            ahead: VecDeque::new(),
            comparing,
            compared: VecDeque::new(),
        })
    }

    /// How many rows one call may ask for.
    pub fn rows_per_call(&self) -> usize {
        self.chunk.rows
    }

    /// The losses, or loss differences, of a range of rows, and how well they are conditioned.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the driver reports a fault.
    pub fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        let count = rows.len();
        self.submit(rows);
        let evaluated = self.collect()?;
        Ok(if self.plan.wrt.is_parameter() {
            evaluated.of_parameter(self.problem.k())
        } else {
            let mut evaluation = Evaluation::default();
            evaluated.rows(0..count, &mut evaluation);
            evaluation
        })
    }

    /// Begins to evaluate a range of rows, while the host does something else.
    pub fn submit(&mut self, rows: Range<usize>) {
        let (count, entries) = (rows.len(), self.entries(rows.len()));
        let mut batch = self.device.batch();
        let (input, totals) = self.compute(&mut batch, rows);
        let chunk = &self.chunk;
        let mut wanted = vec![(self.conditioning(), entries), (&chunk.bounds, 2 * count)];
        match self.plan.method {
            Method::Difference => wanted.push((&chunk.derivative, entries)),
            Method::ForwardPass => {
                wanted.extend(chunk.losses.iter().map(|losses| (losses, entries)));
            }
        }
        let base = match (self.plan.method, self.plan.wrt) {
            (Method::ForwardPass, Wrt::Input) => input,
            (Method::ForwardPass, _) => {
                wanted.push((&chunk.logits, count * self.problem.k()));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let results = batch.submit(&wanted);
        self.ahead.push_back(Ahead {
            base,
            totals,
            results,
        });
    }

    /// Begins to compare a range of rows of `gradient` on the device; nothing happens where it does not.
    pub fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor) {
        let Some(comparing) = &self.comparing else {
            return;
        };
        let mut batch = self.device.batch();
        self.compute(&mut batch, rows.clone());
        let made = [
            &self.chunk.derivative,
            self.conditioning(),
            &self.chunk.bounds,
        ];
        let params = self.params(rows.len());
        comparing.run(&mut batch, params, gradient.rows(rows.clone()), made);
        let results = batch.submit(&comparing.results::<T>(rows.len()));
        self.compared.push_back((rows, results));
    }

    /// What was found of the rows whose comparison was submitted first.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the driver reports a fault, or nothing was submitted.
    pub fn collect_comparison(&mut self) -> Result<DeviceComparison> {
        let missing = || self.device.failed("no comparison was submitted");
        let (rows, results) = self.compared.pop_front().ok_or_else(missing)?;
        let comparing = self.comparing.as_ref().ok_or_else(missing)?;
        Ok(comparing.read::<T>(rows, &results.wait(self.device)?))
    }

    /// Everything up to the conditioning; returns the input and the samples' R as they lie on the device.
    fn compute(&self, batch: &mut Batch<'_, T>, rows: Range<usize>) -> (Vec<T>, Vec<T>) {
        let count = rows.len();
        let operands = self.upload(rows);
        self.forward(batch, count);
        match self.plan.method {
            Method::Difference => self.difference(batch, count),
            Method::ForwardPass => self.forward_pass(batch, count),
        }
        let magnitudes = Params {
            magnitudes: 1,
            ..self.params(count)
        };
        let ChunkBuffers {
            weights, product, ..
        } = &self.chunk;
        match self.plan.wrt {
            Wrt::Input => self.product(batch, weights, product, magnitudes),
            Wrt::Logits => {}
            Wrt::Weight | Wrt::Bias => self.outer(batch, weights, magnitudes),
        }
        operands
    }

    /// Where [`Gpu::compute`] leaves it.
    fn conditioning(&self) -> &Buffer {
        match self.plan.wrt {
            Wrt::Logits => &self.chunk.weights,
            _ => &self.chunk.product,
        }
    }

    /// What was computed of the rows that were submitted first.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the driver reports a fault, or nothing was submitted.
    pub fn collect(&mut self) -> Result<Evaluated<T>> {
        let Some(ahead) = self.ahead.pop_front() else {
            return Err(self.device.failed("nothing was submitted"));
        };
        let mut arrived = ahead.results.wait(self.device)?;
        let mut last = || {
            let missing = || self.device.failed("results are missing");
            arrived.pop().ok_or_else(missing)
        };
        let results = match self.plan.method {
            Method::Difference => Results::Derivative(last()?),
            Method::ForwardPass => {
                let base = match self.plan.wrt {
                    Wrt::Input => Base::Input(ahead.base),
                    _ => Base::Logits(last()?),
                };
                let losses = self.chunk.losses.iter().map(|_| last());
                let mut losses: Vec<Readback> = losses.collect::<Result<_>>()?;
                losses.reverse();
                Results::Losses(losses, base)
            }
        };
        let (bounds, conditioning) = (last()?, last()?);
        Ok(Evaluated {
            columns: self.columns,
            conditioning,
            bounds,
            results,
            totals: ahead.totals,
        })
    }

    /// The gradient of a range of rows by the chain rule, [rows·m].
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the driver reports a fault.
    pub fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        let count = rows.len();
        let entries = self.entries(count);
        self.upload(rows);
        let chunk = &self.chunk;
        let mut batch = self.device.batch();
        self.forward(&mut batch, count);
        let normalizer = self.problem.normalizer();
        let params = Params {
            normalizer,
            ..self.params(count)
        };
        match self.plan.wrt {
            Wrt::Input => self.product(&mut batch, &chunk.gradient, &chunk.product, params),
            Wrt::Weight | Wrt::Bias => self.outer(&mut batch, &chunk.gradient, params),
            Wrt::Logits => {
                let gradient = batch
                    .read(&[(&chunk.gradient, entries)])?
                    .into_iter()
                    .flatten();
                return Ok(gradient.map(|g| (g / T::of(normalizer)).f64()).collect());
            }
        }
        let product = batch.read(&[(&chunk.product, entries)])?;
        Ok(product
            .iter()
            .flat_map(|product| unpadded(product, self.columns))
            .collect())
    }

    /// Puts the rows' operands on the device; returns the input and the samples' R as they lie there.
    fn upload(&self, rows: Range<usize>) -> (Vec<T>, Vec<T>) {
        let input = self.problem.input().rows(rows.clone());
        let input = padded(input, self.problem.d(), self.padded);
        let targets: TargetRows<T> = self.problem.target_rows(rows);
        self.device.write(&self.chunk.input, &input);
        self.device.write(&self.chunk.labels, &targets.labels);
        self.device.write(&self.chunk.totals, &targets.totals);
        if let Some(linear) = &targets.linear {
            self.device.write(&self.chunk.linear, linear);
        }
        (input, targets.totals)
    }

    /// Entries that a call for so many rows gives, padding included.
    fn entries(&self, rows: usize) -> usize {
        self.columns[1]
            * if self.plan.wrt.is_parameter() {
                self.problem.k()
            } else {
                rows
            }
    }

    /// What a step in a parameter is multiplied by on its way to a logit: the input, or 1.
    fn multiplier(&self) -> &Buffer {
        if self.plan.wrt == Wrt::Bias {
            &self.ones
        } else {
            &self.chunk.input
        }
    }

    /// leftᵀ · multiplier, [k,rows]·[rows,m], into the chunk's product.
    fn outer(&self, batch: &mut Batch<'_, T>, left: &Buffer, params: Params) {
        for params in tiles(params, 0..params.rows as usize, DISPATCH_TERMS) {
            batch.run(
                Kernel::Outer,
                params,
                &[left, self.multiplier(), &self.chunk.product],
            );
        }
    }

    fn params(&self, rows: usize) -> Params {
        let model = RoundingModel::of_gradient(self.problem, &self.plan);
        Params {
            rows: rows as u32,
            columns: self.columns[1] as u32,
            classes: self.problem.k() as u32,
            has_linear: u32::from(!self.problem.is_one_hot()),
            law_sums: model.sums,
            law_accumulation: model.accumulation,
            ..Params::default()
        }
    }

    /// Logits, what the loss's derivative needs of them, and the weights of the conditioning.
    fn forward(&self, batch: &mut Batch<'_, T>, rows: usize) {
        let ChunkBuffers {
            input,
            labels,
            totals,
            linear,
            logits,
            magnitude,
            residual,
            gradient,
            weights,
            bounds,
            ..
        } = &self.chunk;
        self.logits(batch, input, logits, magnitude, rows);
        let operands = [
            logits, magnitude, labels, totals, linear, residual, gradient, weights, bounds,
        ];
        batch.run(Kernel::Residual, self.params(rows), &operands);
    }

    fn logits(
        &self,
        batch: &mut Batch<'_, T>,
        input: &Buffer,
        logits: &Buffer,
        magnitude: &Buffer,
        rows: usize,
    ) {
        for window in &self.windows {
            let params = Params {
                columns: self.padded as u32,
                ..window.params(self.params(rows))
            };
            for params in tiles(params, 0..self.problem.d(), DISPATCH_COLUMNS) {
                let operands = [input, &window.weight, &self.bias, logits, magnitude];
                batch.run(Kernel::Logits, params, &operands);
            }
        }
    }

    /// left · W, or left · |W|, over a normaliser, `[rows,k]·[k,m]`.
    fn product(&self, batch: &mut Batch<'_, T>, left: &Buffer, product: &Buffer, params: Params) {
        for window in &self.windows {
            for params in window.tiles(params) {
                batch.run(Kernel::Matmul, params, &[left, &window.weight, product]);
            }
        }
    }

    fn difference(&self, batch: &mut Batch<'_, T>, rows: usize) {
        let ChunkBuffers {
            residual,
            labels,
            totals,
            linear,
            linear_product,
            carried,
            derivative,
            ..
        } = &self.chunk;
        let params = self.params(rows).with_steps(self.plan.quotients());
        let terms = classes_a_dispatch(self.plan.steps().count());
        match self.plan.wrt {
            Wrt::Input => {
                if !self.problem.is_one_hot() {
                    self.product(batch, linear, linear_product, self.params(rows));
                }
                for window in &self.windows {
                    let operands = [
                        residual,
                        &window.growths,
                        labels,
                        totals,
                        linear_product,
                        carried,
                        derivative,
                    ];
                    for params in tiles(window.params(params), window.classes.clone(), terms) {
                        batch.run(Kernel::Difference, params, &operands);
                    }
                }
            }
            Wrt::Weight | Wrt::Bias => {
                for params in tiles(params, 0..rows, terms) {
                    let operands = [
                        residual,
                        self.multiplier(),
                        labels,
                        totals,
                        linear,
                        derivative,
                    ];
                    batch.run(Kernel::DifferenceWeight, params, &operands);
                }
            }
            Wrt::Logits => {
                let operands = [residual, labels, totals, linear, derivative];
                batch.run(Kernel::DifferenceLogits, params, &operands);
            }
        }
    }

    /// As many perturbed rows at a time as their buffer holds.
    fn forward_pass(&self, batch: &mut Batch<'_, T>, rows: usize) {
        let ChunkBuffers {
            input,
            logits,
            labels,
            totals,
            linear,
            copies,
            copies_logits,
            copies_magnitude,
            ..
        } = &self.chunk;
        let entries = rows * self.columns[1];
        for (step, losses) in self.plan.quotients().zip(&self.chunk.losses) {
            for first in (0..entries).step_by(self.chunk.copies_at_a_time) {
                let count = self.chunk.copies_at_a_time.min(entries - first);
                let params = Params {
                    first: first as u32,
                    ..self.params(count)
                }
                .with_steps(std::iter::once(step));
                let perturbed = match self.plan.wrt {
                    Wrt::Input => {
                        batch.run(Kernel::Perturb, params, &[input, copies]);
                        self.logits(batch, copies, copies_logits, copies_magnitude, count);
                        copies_logits
                    }
                    _ => {
                        batch.run(Kernel::Perturb, params, &[logits, copies]);
                        copies
                    }
                };
                batch.run(
                    Kernel::Loss,
                    params,
                    &[perturbed, labels, totals, linear, losses],
                );
            }
        }
    }
}

impl Window {
    fn upload<T: Element>(
        device: &GpuDevice,
        problem: &Problem,
        plan: &Plan,
        classes: Range<usize>,
        width: usize,
    ) -> Self {
        let d = problem.d();
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().rows(classes.clone());
                let table = |step| padded(growth::<T>(&slopes, step), d, width);
                let tables: Vec<T> = plan.steps().flat_map(table).collect();
                device.upload("growths", &tables)
            }
            _ => device.empty::<T>("growths", 0),
        };
        let weight: Vec<T> = padded(problem.weight().rows(classes.clone()), d, width);
        Self {
            classes,
            weight: device.upload("weight", &weight),
            growths,
        }
    }

    fn params(&self, params: Params) -> Params {
        Params {
            class_begin: self.classes.start as u32,
            class_end: self.classes.end as u32,
            ..params
        }
    }

    /// The dispatches that together add up its classes.
    fn tiles(&self, params: Params) -> impl Iterator<Item = Params> {
        tiles(self.params(params), self.classes.clone(), DISPATCH_TERMS)
    }
}

/// The dispatches that together add up the terms of a range.
fn tiles(params: Params, terms: Range<usize>, tile: usize) -> impl Iterator<Item = Params> {
    let end = terms.end;
    terms.step_by(tile).map(move |begin| Params {
        tile_begin: begin as u32,
        tile_end: end.min(begin + tile) as u32,
        ..params
    })
}

/// Rows of `columns`, padded with zeros to `width`.
fn padded<T: Element>(values: Vec<T>, columns: usize, width: usize) -> Vec<T> {
    if columns == width {
        return values;
    }
    let mut padded = vec![T::zero(); values.len() / columns * width];
    let rows = padded.chunks_exact_mut(width);
    for (padded, row) in rows.zip(values.chunks_exact(columns)) {
        padded[..columns].copy_from_slice(row);
    }
    padded
}
