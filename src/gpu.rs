//! The GPU engine, the only module that names wgpu: it uploads a range of rows, strings the kernels together and
//! reads losses back. Shaders compute in f32; what is subtracted is subtracted on the host, in f64.

use std::ops::Range;

use crate::{
    cpu::difference::growth,
    error::{Error, Result},
    plan::{Evaluation, Plan},
    problem::{Problem, Wrt},
    scheme::Method,
};

mod adapter;
mod batch;
mod device;
mod kernel;
mod probe;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use batch::Batch;
pub use device::{Buffer, Device};
pub use kernel::{Binding, Kernel, Params};

/// Columns (of a dot product) or classes (of a product) that one dispatch adds up. Mesa 22.3's lavapipe ends an
/// invocation's loops after 65,535 iterations without a word: with sums unrolled at least four times, this is an eighth.
const TILE: usize = 32_768;

/// The engine for one problem and one plan: operands that do not depend on the rows stay on the device.
pub struct Gpu<'a> {
    device: &'a Device,
    problem: &'a Problem,
    plan: Plan,
    rows_per_call: usize,
    weight: Buffer,
    bias: Buffer,
    /// |W|, [k, d].
    weight_abs: Buffer,
    /// expm1(step·W)/step, [k, d] a step: `difference` with respect to the input only.
    growths: Vec<Buffer>,
    chunk: Chunk,
}

/// The buffers of one range of rows, made once.
struct Chunk {
    input: Buffer,
    target: Buffer,
    logits: Buffer,
    magnitude: Buffer,
    residual: Buffer,
    /// [rows, k]: the weights of S + T.
    weights: Buffer,
    /// [rows, m] a step.
    losses: Vec<Buffer>,
    /// [rows, m]: S + T, or the backward pass.
    product: Buffer,
    /// Perturbed copies of rows, and their logits: `forward-pass` only.
    copies: Buffer,
    copies_logits: Buffer,
    copies_magnitude: Buffer,
    /// How many copies fit.
    copies_per_dispatch: usize,
}

impl<'a> Gpu<'a> {
    /// Uploads what does not depend on the rows and makes the buffers for what does.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the problem does not fit the device's limits.
    pub fn new(device: &'a Device, problem: &'a Problem, plan: Plan) -> Result<Self> {
        let (d, k, m) = (problem.d(), problem.k(), problem.columns(plan.wrt));
        let binding = device.most_elements();
        for (what, elements) in [
            ("the weight", k * d),
            ("a row of the input", d),
            ("a row of the logits", k),
        ] {
            if elements > binding {
                let reason =
                    format!("{what} has {elements} elements, and it binds at most {binding}");
                return Err(Error::Gpu {
                    device: device.info().name.clone(),
                    reason,
                });
            }
        }
        let steps = plan.scheme.offsets.len();
        let copies_per_dispatch = match plan.method {
            Method::Difference => 0,
            Method::ForwardPass => (binding / m.max(k))
                .min(device.memory_elements() / 2 / (m + 2 * k))
                .max(1),
        };
        let elements_per_row = d + 4 * k + (steps + 1) * m;
        let rows_per_call = (binding / d.max(k))
            .min(device.memory_elements() / 2 / elements_per_row)
            .clamp(1, plan.rows_at_a_time(problem));
        let copies = copies_per_dispatch.min(rows_per_call * m);

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
        let empty = |label, elements| device.empty(label, elements);
        let chunk = Chunk {
            input: empty("input", rows_per_call * d),
            target: empty("target", rows_per_call),
            logits: empty("logits", rows_per_call * k),
            magnitude: empty("magnitude", rows_per_call * k),
            residual: empty("residual", rows_per_call * k),
            weights: empty("weights", rows_per_call * k),
            losses: (0..steps)
                .map(|_| empty("losses", rows_per_call * m))
                .collect(),
            product: empty("product", rows_per_call * m),
            copies: empty("copies", copies * m),
            copies_logits: empty("copies_logits", copies * k),
            copies_magnitude: empty("copies_magnitude", copies * k),
            copies_per_dispatch,
        };
        device.check()?;
        Ok(Self {
            device,
            problem,
            plan,
            rows_per_call,
            weight: device.upload("weight", &weight),
            bias: device.upload("bias", &problem.bias::<f32>()),
            weight_abs: device.upload("weight_abs", &weight_abs),
            growths,
            chunk,
        })
    }

    /// How many rows one call may ask for.
    pub fn rows_per_call(&self) -> usize {
        self.rows_per_call
    }

    /// The losses, or loss differences, of a range of rows, and how well they are conditioned.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver reports a fault.
    pub fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        let (k, m) = (self.problem.k(), self.problem.columns(self.plan.wrt));
        let (count, entries) = (rows.len(), rows.len() * m);
        let input = self.upload(rows);
        let mut batch = self.device.batch();
        self.forward(&mut batch, count);
        match self.plan.method {
            Method::Difference => self.difference(&mut batch, count),
            Method::ForwardPass => self.forward_pass(&mut batch, count),
        }
        let mut wanted: Vec<(&Buffer, usize)> = self
            .chunk
            .losses
            .iter()
            .map(|losses| (losses, entries))
            .collect();
        wanted.push((&self.chunk.magnitude, count * k));
        match self.plan.wrt {
            Wrt::Input => {
                self.product(
                    &mut batch,
                    &self.chunk.weights,
                    &self.weight_abs,
                    count,
                    1.0,
                );
                wanted.push((&self.chunk.product, entries));
            }
            Wrt::Logits => wanted.push((&self.chunk.weights, entries)),
        }
        let of_logits = self.plan.method == Method::ForwardPass && self.plan.wrt == Wrt::Logits;
        if of_logits {
            wanted.push((&self.chunk.logits, entries));
        }
        let mut results = batch.read(&wanted)?.into_iter();
        let losses = results
            .by_ref()
            .take(self.chunk.losses.len())
            .map(widen)
            .collect();
        let magnitude = results.next().unwrap_or_default();
        let conditioning = widen(results.next().unwrap_or_default());
        let base = match (self.plan.method, results.next()) {
            (Method::Difference, _) => Vec::new(),
            (Method::ForwardPass, Some(logits)) => widen(logits),
            (Method::ForwardPass, None) => widen(input),
        };
        let largest = |row: &[f32]| {
            row.iter()
                .fold(0.0, |largest, &v| f64::from(v).max(largest))
        };
        Ok(Evaluation {
            losses,
            base,
            conditioning,
            magnitude: magnitude.chunks_exact(k).map(largest).collect(),
        })
    }

    /// The gradient of a range of rows by the chain rule, [rows·m].
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver reports a fault.
    pub fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        let count = rows.len();
        let entries = count * self.problem.columns(self.plan.wrt);
        self.upload(rows);
        let mut batch = self.device.batch();
        self.forward(&mut batch, count);
        let normalizer = self.problem.normalizer();
        match self.plan.wrt {
            Wrt::Input => {
                self.product(
                    &mut batch,
                    &self.chunk.residual,
                    &self.weight,
                    count,
                    normalizer as f32,
                );
                Ok(batch
                    .read(&[(&self.chunk.product, entries)])?
                    .into_iter()
                    .flat_map(widen)
                    .collect())
            }
            Wrt::Logits => {
                let residual = batch
                    .read(&[(&self.chunk.residual, entries)])?
                    .into_iter()
                    .flatten();
                Ok(residual.map(|r| f64::from(r / normalizer as f32)).collect())
            }
        }
    }

    /// Puts the rows' operands on the device; returns the input as it lies there.
    fn upload(&self, rows: Range<usize>) -> Vec<f32> {
        let input: Vec<f32> = self.problem.input().rows(rows.clone());
        self.device.write(&self.chunk.input, &input);
        self.device
            .write(&self.chunk.target, self.problem.target(rows));
        input
    }

    fn params(&self, rows: usize) -> Params {
        let m = self.problem.columns(self.plan.wrt);
        Params {
            rows: rows as u32,
            columns: m as u32,
            classes: self.problem.k() as u32,
            ..Params::default()
        }
    }

    /// Logits, residual and the weights of S + T.
    fn forward(&self, batch: &mut Batch<'_>, rows: usize) {
        let chunk = &self.chunk;
        self.logits(batch, &chunk.input, &chunk.logits, &chunk.magnitude, rows);
        let operands = [
            &chunk.logits,
            &chunk.magnitude,
            &chunk.target,
            &chunk.residual,
            &chunk.weights,
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
        for params in tiles(params, self.problem.d()) {
            batch.run(
                Kernel::Logits,
                params,
                &[input, &self.weight, &self.bias, logits, magnitude],
            );
        }
    }

    /// left · right / normalizer into the chunk's product.
    fn product(
        &self,
        batch: &mut Batch<'_>,
        left: &Buffer,
        right: &Buffer,
        rows: usize,
        normalizer: f32,
    ) {
        for params in tiles(
            Params {
                normalizer,
                ..self.params(rows)
            },
            self.problem.k(),
        ) {
            batch.run(Kernel::Matmul, params, &[left, right, &self.chunk.product]);
        }
    }

    fn difference(&self, batch: &mut Batch<'_>, rows: usize) {
        let Chunk {
            residual,
            target,
            losses,
            ..
        } = &self.chunk;
        match self.plan.wrt {
            Wrt::Input => {
                for ((growth, step), losses) in
                    self.growths.iter().zip(self.plan.steps()).zip(losses)
                {
                    let params = Params {
                        step: step as f32,
                        ..self.params(rows)
                    };
                    for params in tiles(params, self.problem.k()) {
                        batch.run(
                            Kernel::Difference,
                            params,
                            &[residual, growth, target, losses],
                        );
                    }
                }
            }
            Wrt::Logits => {
                for (step, losses) in self.plan.steps().zip(losses) {
                    let params = Params {
                        step: step as f32,
                        ..self.params(rows)
                    };
                    batch.run(
                        Kernel::DifferenceLogits,
                        params,
                        &[residual, target, losses],
                    );
                }
            }
        }
    }

    /// As many perturbed rows at a time as their buffer holds.
    fn forward_pass(&self, batch: &mut Batch<'_>, rows: usize) {
        let chunk = &self.chunk;
        let entries = rows * self.problem.columns(self.plan.wrt);
        for (step, losses) in self.plan.steps().zip(&chunk.losses) {
            for first in (0..entries).step_by(chunk.copies_per_dispatch) {
                let copies = chunk.copies_per_dispatch.min(entries - first);
                let params = Params {
                    first: first as u32,
                    step: step as f32,
                    ..self.params(copies)
                };
                match self.plan.wrt {
                    Wrt::Input => {
                        batch.run(Kernel::Perturb, params, &[&chunk.input, &chunk.copies]);
                        self.logits(
                            batch,
                            &chunk.copies,
                            &chunk.copies_logits,
                            &chunk.copies_magnitude,
                            copies,
                        );
                        batch.run(
                            Kernel::Loss,
                            params,
                            &[&chunk.copies_logits, &chunk.target, losses],
                        );
                    }
                    Wrt::Logits => {
                        batch.run(Kernel::Perturb, params, &[&chunk.logits, &chunk.copies]);
                        batch.run(
                            Kernel::Loss,
                            params,
                            &[&chunk.copies, &chunk.target, losses],
                        );
                    }
                }
            }
        }
    }
}

/// The dispatches that together add up `length` terms.
fn tiles(params: Params, length: usize) -> impl Iterator<Item = Params> {
    (0..length).step_by(TILE).map(move |begin| {
        let end = length.min(begin + TILE);
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
