//! The GPU engine, the only module that names wgpu: it uploads a range of rows, strings the kernels together and
//! reads losses back. Shaders compute in f32; what is subtracted is subtracted on the host, in f64.

use std::{collections::VecDeque, ops::Range};

use crate::{
    cpu::difference::growth,
    error::Result,
    loss::Samples,
    plan::{Evaluation, Plan},
    problem::{Problem, Wrt},
    scheme::Method,
};

mod adapter;
mod batch;
mod chunk;
mod device;
mod evaluated;
mod kernel;
mod probe;
mod readback;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use batch::{Batch, Pending};
pub use device::{Buffer, Device, Timing};
pub use kernel::{Binding, Kernel, Params, TILE_COLUMNS};

pub use evaluated::Evaluated;
pub use readback::Readback;

use chunk::Chunk;
use evaluated::{Base, unpadded};

/// Columns of a dot product that one dispatch adds up. Mesa 22.3's lavapipe ends an invocation's loops after 65,535
/// iterations without a word: taken four at a time, this is an eighth.
const COLUMNS_TILE: usize = 32_768;

/// Classes or samples that one dispatch adds up, of which an iteration takes one: likewise.
const TERMS_TILE: usize = 8192;

/// The engine for one problem and one plan: operands that do not depend on the rows stay on the device.
pub struct Gpu<'a> {
    device: &'a Device,
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
    chunk: Chunk,
    ahead: VecDeque<Ahead>,
}

/// As much of the weight as one binding holds.
struct Window {
    classes: Range<usize>,
    /// [classes, d].
    weight: Buffer,
    /// expm1(step·W)/step, [classes, d] a step: `difference` with respect to the input only.
    growths: Vec<Buffer>,
}

/// Rows whose evaluation was submitted.
struct Ahead {
    /// What is perturbed, where the host has it; `forward-pass` with respect to the input only.
    base: Vec<f32>,
    /// R.
    totals: Vec<f32>,
    results: Pending,
}

impl<'a> Gpu<'a> {
    /// Uploads what does not depend on the rows and makes the buffers for what does.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn new(device: &'a Device, problem: &'a Problem, plan: Plan) -> Result<Self> {
        let (k, binding) = (problem.k(), device.most_elements());
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
        let classes = (0..k).step_by(binding / padded);
        let windows: Vec<Window> = classes
            .map(|begin| {
                let classes = begin..k.min(begin + binding / padded);
                Window::upload(device, problem, &plan, classes, padded)
            })
            .collect();
        let chunk = Chunk::new(device, problem, &plan, (padded, columns[1]), windows.len());
        device.check()?;
        Ok(Self {
            device,
            problem,
            plan,
            padded,
            columns,
            windows,
            bias: device.upload("bias", &problem.bias::<f32>()),
            ones: device.upload(
                "ones",
                &vec![1f32; if plan.wrt == Wrt::Bias { chunk.rows } else { 1 }],
            ),
            chunk,
            ahead: VecDeque::new(),
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
        Ok(match self.plan.wrt.is_parameter() {
            true => evaluated.of_parameter(self.problem.k()),
            false => evaluated.rows(0..count),
        })
    }

    /// Begins to evaluate a range of rows, while the host does something else.
    pub fn submit(&mut self, rows: Range<usize>) {
        let k = self.problem.k();
        let (count, entries) = (rows.len(), self.entries(rows.len()));
        let (input, totals) = self.upload(rows);
        let chunk = &self.chunk;
        let mut batch = self.device.batch();
        self.forward(&mut batch, count);
        match self.plan.method {
            Method::Difference => self.difference(&mut batch, count),
            Method::ForwardPass => self.forward_pass(&mut batch, count),
        }
        let magnitudes = Params {
            magnitudes: 1,
            ..self.params(count)
        };
        let conditioning = match self.plan.wrt {
            Wrt::Input => {
                self.product(&mut batch, &chunk.weights, &chunk.product, magnitudes);
                &chunk.product
            }
            Wrt::Logits => &chunk.weights,
            Wrt::Weight | Wrt::Bias => {
                self.outer(&mut batch, &chunk.weights, magnitudes);
                &chunk.product
            }
        };
        let mut wanted = vec![(conditioning, entries), (&chunk.bounds, 2 * count)];
        wanted.extend(chunk.losses.iter().map(|losses| (losses, entries)));
        let base = match (self.plan.method, self.plan.wrt) {
            (Method::ForwardPass, Wrt::Input) => input,
            (Method::ForwardPass, _) => {
                wanted.push((&chunk.logits, count * k));
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

    /// What was computed of the rows that were submitted first.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the driver reports a fault, or nothing was submitted.
    pub fn collect(&mut self) -> Result<Evaluated> {
        let Some(ahead) = self.ahead.pop_front() else {
            return Err(self.device.failed("nothing was submitted"));
        };
        let mut results = ahead.results.wait(self.device)?;
        let base = match (self.plan.method, self.plan.wrt) {
            (Method::ForwardPass, Wrt::Input) => Base::Input(ahead.base),
            (Method::ForwardPass, _) => results.pop().map_or(Base::None, Base::Logits),
            (Method::Difference, _) => Base::None,
        };
        let losses = results.split_off(2);
        let (Some(bounds), Some(conditioning)) = (results.pop(), results.pop()) else {
            return Err(self.device.failed("results are missing"));
        };
        Ok(Evaluated {
            columns: self.columns,
            conditioning,
            bounds,
            losses,
            weights: self.plan.quotients().map(|(_, weight)| weight).collect(),
            base,
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
        let normalizer = self.problem.normalizer() as f32;
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
                return Ok(gradient.map(|g| f64::from(g / normalizer)).collect());
            }
        }
        let product = batch.read(&[(&chunk.product, entries)])?;
        Ok(product
            .iter()
            .flat_map(|product| unpadded(product, self.columns))
            .collect())
    }

    /// Puts the rows' operands on the device; returns the input and the samples' R as they lie there.
    fn upload(&self, rows: Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let input = self.problem.input().rows(rows.clone());
        let input = padded(input, self.problem.d(), self.padded);
        let samples: Samples<f32> = self.problem.samples(rows);
        self.device.write(&self.chunk.input, &input);
        self.device.write(&self.chunk.labels, &samples.labels);
        self.device.write(&self.chunk.totals, &samples.totals);
        if let Some(linear) = &samples.linear {
            self.device.write(&self.chunk.linear, linear);
        }
        (input, samples.totals)
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
    fn outer(&self, batch: &mut Batch<'_>, left: &Buffer, params: Params) {
        for params in tiles(params, 0..params.rows as usize, TERMS_TILE) {
            batch.run(
                Kernel::Outer,
                params,
                &[left, self.multiplier(), &self.chunk.product],
            );
        }
    }

    fn params(&self, rows: usize) -> Params {
        Params {
            rows: rows as u32,
            columns: self.columns[1] as u32,
            classes: self.problem.k() as u32,
            has_linear: u32::from(!self.problem.is_one_hot()),
            law_sums: self.plan.law.sums as f32,
            law_accumulation: self.plan.law.accumulation as f32,
            ..Params::default()
        }
    }

    /// Logits, what the loss's derivative needs of them, and the weights of the conditioning.
    fn forward(&self, batch: &mut Batch<'_>, rows: usize) {
        let Chunk {
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
        batch: &mut Batch<'_>,
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
            for params in tiles(params, 0..self.problem.d(), COLUMNS_TILE) {
                let operands = [input, &window.weight, &self.bias, logits, magnitude];
                batch.run(Kernel::Logits, params, &operands);
            }
        }
    }

    /// left · W, or left · |W|, over a normaliser, `[rows,k]·[k,m]`.
    fn product(&self, batch: &mut Batch<'_>, left: &Buffer, product: &Buffer, params: Params) {
        for window in &self.windows {
            for params in window.tiles(params) {
                batch.run(Kernel::Matmul, params, &[left, &window.weight, product]);
            }
        }
    }

    fn difference(&self, batch: &mut Batch<'_>, rows: usize) {
        let Chunk {
            residual,
            labels,
            totals,
            linear,
            linear_product,
            at_label,
            losses,
            ..
        } = &self.chunk;
        let params = |step: f64| Params {
            step: step as f32,
            ..self.params(rows)
        };
        match self.plan.wrt {
            Wrt::Input => {
                if !self.problem.is_one_hot() {
                    self.product(batch, linear, linear_product, self.params(rows));
                }
                for (index, (step, losses)) in self.plan.steps().zip(losses).enumerate() {
                    for window in &self.windows {
                        let growth = &window.growths[index];
                        let operands = [
                            residual,
                            growth,
                            labels,
                            totals,
                            linear_product,
                            at_label,
                            losses,
                        ];
                        for params in window.tiles(params(step)) {
                            batch.run(Kernel::Difference, params, &operands);
                        }
                    }
                }
            }
            Wrt::Weight | Wrt::Bias => {
                for (step, losses) in self.plan.steps().zip(losses) {
                    for params in tiles(params(step), 0..rows, TERMS_TILE) {
                        let operands =
                            [residual, self.multiplier(), labels, totals, linear, losses];
                        batch.run(Kernel::DifferenceWeight, params, &operands);
                    }
                }
            }
            Wrt::Logits => {
                for (step, losses) in self.plan.steps().zip(losses) {
                    let operands = [residual, labels, totals, linear, losses];
                    batch.run(Kernel::DifferenceLogits, params(step), &operands);
                }
            }
        }
    }

    /// As many perturbed rows at a time as their buffer holds.
    fn forward_pass(&self, batch: &mut Batch<'_>, rows: usize) {
        let Chunk {
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
        for (step, losses) in self.plan.steps().zip(&self.chunk.losses) {
            for first in (0..entries).step_by(self.chunk.copies_at_a_time) {
                let count = self.chunk.copies_at_a_time.min(entries - first);
                let params = Params {
                    first: first as u32,
                    step: step as f32,
                    ..self.params(count)
                };
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
    fn upload(
        device: &Device,
        problem: &Problem,
        plan: &Plan,
        classes: Range<usize>,
        width: usize,
    ) -> Self {
        let d = problem.d();
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().rows(classes.clone());
                let table = |step| padded(growth::<f32>(&slopes, step), d, width);
                plan.steps()
                    .map(|step| device.upload("growth", &table(step)))
                    .collect()
            }
            _ => Vec::new(),
        };
        let weight = padded(problem.weight().rows(classes.clone()), d, width);
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
        tiles(self.params(params), self.classes.clone(), TERMS_TILE)
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
fn padded(values: Vec<f32>, columns: usize, width: usize) -> Vec<f32> {
    if columns == width {
        return values;
    }
    let mut padded = vec![0.0; values.len() / columns * width];
    let rows = padded.chunks_exact_mut(width);
    for (padded, row) in rows.zip(values.chunks_exact(columns)) {
        padded[..columns].copy_from_slice(row);
    }
    padded
}
