//! The GPU engine, the only module that names wgpu: it uploads a range of rows, strings the kernels together and
//! reads losses back. Shaders compute in f32; what is subtracted is subtracted on the host, in f64.

use std::ops::Range;

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
mod kernel;
mod probe;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use batch::Batch;
pub use device::{Buffer, Device};
pub use kernel::{Binding, Kernel, Params};

use chunk::Chunk;

/// Columns (of a dot product) or classes (of a product) that one dispatch adds up. Mesa 22.3's lavapipe ends an
/// invocation's loops after 65,535 iterations without a word: with sums unrolled at least four times, this is an eighth.
const TILE: usize = 32_768;

/// Samples that one dispatch adds up, of which none can be unrolled.
const SAMPLES_TILE: usize = 8192;

/// The engine for one problem and one plan: operands that do not depend on the rows stay on the device.
pub struct Gpu<'a> {
    device: &'a Device,
    problem: &'a Problem,
    plan: Plan,
    weight: Buffer,
    bias: Buffer,
    /// |W|, [k, d].
    weight_abs: Buffer,
    /// expm1(step·W)/step, [k, d] a step: `difference` with respect to the input only.
    growths: Vec<Buffer>,
    /// 1 for each row, with respect to the bias only.
    ones: Buffer,
    chunk: Chunk,
}

impl<'a> Gpu<'a> {
    /// Uploads what does not depend on the rows and makes the buffers for what does.
    ///
    /// # Errors
    /// [`Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn new(device: &'a Device, problem: &'a Problem, plan: Plan) -> Result<Self> {
        let (d, k, binding) = (problem.d(), problem.k(), device.most_elements());
        for (what, elements) in [
            ("the weight", k * d),
            ("a row of the input", d),
            ("a row of the logits", k),
        ] {
            if elements > binding {
                return Err(device.failed(format!(
                    "{what} has {elements} elements, and it binds at most {binding}"
                )));
            }
        }
        let weight: Vec<f32> = problem.weight().values();
        let weight_abs: Vec<f32> = weight.iter().map(|w| w.abs()).collect();
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().values();
                plan.steps()
                    .map(|step| device.upload("growth", &growth::<f32>(&slopes, step)))
                    .collect()
            }
            _ => Vec::new(),
        };
        let chunk = Chunk::new(device, problem, &plan);
        device.check()?;
        Ok(Self {
            device,
            problem,
            plan,
            weight: device.upload("weight", &weight),
            bias: device.upload("bias", &problem.bias::<f32>()),
            weight_abs: device.upload("weight_abs", &weight_abs),
            growths,
            ones: device.upload(
                "ones",
                &vec![1f32; if plan.wrt == Wrt::Bias { chunk.rows } else { 1 }],
            ),
            chunk,
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
        let conditioning = match self.plan.wrt {
            Wrt::Input => {
                self.product(
                    &mut batch,
                    &chunk.weights,
                    &self.weight_abs,
                    &chunk.product,
                    count,
                    1.0,
                );
                &chunk.product
            }
            Wrt::Logits => &chunk.weights,
            Wrt::Weight | Wrt::Bias => {
                let params = Params {
                    magnitudes: 1,
                    ..self.params(count)
                };
                self.outer(&mut batch, &chunk.weights, params);
                &chunk.product
            }
        };
        let mut wanted = vec![
            (conditioning, entries),
            (&chunk.magnitude, count * k),
            (&chunk.logits, count * k),
        ];
        wanted.extend(chunk.losses.iter().map(|losses| (losses, entries)));
        let mut results = batch.read(&wanted)?.into_iter();
        let conditioning = widen(results.next().unwrap_or_default());
        let magnitude = widen(results.next().unwrap_or_default());
        let logits = widen(results.next().unwrap_or_default());
        let moved = |(&z, &a): (&f64, &f64)| self.plan.law.moved(z, a);
        let moved: Vec<f64> = logits.iter().zip(&magnitude).map(moved).collect();
        let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
        let mut evaluation = Evaluation {
            losses: results.map(widen).collect(),
            base: match (self.plan.method, self.plan.wrt) {
                (Method::Difference, _) => Vec::new(),
                (Method::ForwardPass, Wrt::Input) => widen(input),
                (Method::ForwardPass, _) => logits,
            },
            conditioning,
            magnitude: magnitude.chunks_exact(k).map(largest).collect(),
            totals: widen(totals),
            moved: moved.chunks_exact(k).map(largest).collect(),
        };
        if self.plan.wrt.is_parameter() {
            evaluation.magnitude = vec![largest(&evaluation.magnitude); k];
            evaluation.moved = vec![largest(&evaluation.moved); k];
            evaluation.totals = vec![evaluation.totals.iter().sum(); k];
        }
        Ok(evaluation)
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
        match self.plan.wrt {
            Wrt::Input => self.product(
                &mut batch,
                &chunk.gradient,
                &self.weight,
                &chunk.product,
                count,
                normalizer,
            ),
            Wrt::Weight | Wrt::Bias => {
                self.outer(
                    &mut batch,
                    &chunk.gradient,
                    Params {
                        normalizer,
                        ..self.params(count)
                    },
                );
            }
            Wrt::Logits => {
                let gradient = batch
                    .read(&[(&chunk.gradient, entries)])?
                    .into_iter()
                    .flatten();
                return Ok(gradient.map(|g| f64::from(g / normalizer)).collect());
            }
        }
        Ok(batch
            .read(&[(&chunk.product, entries)])?
            .into_iter()
            .flat_map(widen)
            .collect())
    }

    /// Puts the rows' operands on the device; returns the input and the samples' R as they lie there.
    fn upload(&self, rows: Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let input: Vec<f32> = self.problem.input().rows(rows.clone());
        let samples: Samples<f32> = self.problem.samples(rows);
        self.device.write(&self.chunk.input, &input);
        self.device.write(&self.chunk.labels, &samples.labels);
        self.device.write(&self.chunk.totals, &samples.totals);
        if let Some(linear) = &samples.linear {
            self.device.write(&self.chunk.linear, linear);
        }
        (input, samples.totals)
    }

    /// Entries that a call for so many rows gives.
    fn entries(&self, rows: usize) -> usize {
        let wrt = self.plan.wrt;
        self.problem.columns(wrt)
            * if wrt.is_parameter() {
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
        for params in tiles(params, params.rows as usize, SAMPLES_TILE) {
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
            columns: self.problem.columns(self.plan.wrt) as u32,
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
            ..
        } = &self.chunk;
        self.logits(batch, input, logits, magnitude, rows);
        let operands = [
            logits, magnitude, labels, totals, linear, residual, gradient, weights,
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
        let params = Params {
            columns: self.problem.d() as u32,
            ..self.params(rows)
        };
        for params in tiles(params, self.problem.d(), TILE) {
            batch.run(
                Kernel::Logits,
                params,
                &[input, &self.weight, &self.bias, logits, magnitude],
            );
        }
    }

    /// left · right / normalizer, `[rows,k]·[k,m]`.
    fn product(
        &self,
        batch: &mut Batch<'_>,
        left: &Buffer,
        right: &Buffer,
        product: &Buffer,
        rows: usize,
        normalizer: f32,
    ) {
        for params in tiles(
            Params {
                normalizer,
                ..self.params(rows)
            },
            self.problem.k(),
            TILE,
        ) {
            batch.run(Kernel::Matmul, params, &[left, right, product]);
        }
    }

    fn difference(&self, batch: &mut Batch<'_>, rows: usize) {
        let Chunk {
            residual,
            labels,
            totals,
            linear,
            linear_product,
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
                    self.product(batch, linear, &self.weight, linear_product, rows, 1.0);
                }
                for ((growth, step), losses) in
                    self.growths.iter().zip(self.plan.steps()).zip(losses)
                {
                    for params in tiles(params(step), self.problem.k(), TILE) {
                        let operands = [residual, growth, labels, totals, linear_product, losses];
                        batch.run(Kernel::Difference, params, &operands);
                    }
                }
            }
            Wrt::Weight | Wrt::Bias => {
                for (step, losses) in self.plan.steps().zip(losses) {
                    for params in tiles(params(step), rows, SAMPLES_TILE) {
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
        let entries = rows * self.problem.columns(self.plan.wrt);
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

/// The dispatches that together add up `length` terms.
fn tiles(params: Params, length: usize, tile: usize) -> impl Iterator<Item = Params> {
    (0..length).step_by(tile).map(move |begin| {
        let end = length.min(begin + tile);
        Params {
            tile_begin: begin as u32,
            tile_end: end as u32,
            ..params
        }
    })
}

fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}
