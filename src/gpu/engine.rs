//! The GPU engine: runs the parts of an evaluation in order.

use std::{collections::VecDeque, ops::Range};

use super::{
    Batch, Buffer, Columns, Element, GpuDevice, Readback, Submitted,
    derivative::Derivative,
    evaluated::{Base, Evaluated, Results},
    forward::{Forward, Uploaded},
    kernel::outer::Outer,
    losses::Losses,
    sizes::Sizes,
    tiles::tiles,
    weight::Weight,
};
use crate::{
    budget::DISPATCH_TERMS,
    engine::{Engine, Evaluation, RowSource},
    error::Result,
    plan::Plan,
    problem::{Problem, Wrt},
    rounding::RoundingModel,
    scheme::{Method, Precision},
};

/// The engine for one problem and one plan, in the arithmetic of T.
pub struct GpuEngine<'a, T> {
    pub(super) device: &'a GpuDevice,
    problem: &'a Problem,
    plan: Plan,
    model: RoundingModel,
    pub(super) sizes: Sizes,
    weight: Weight,
    pub(super) forward: Forward,
    numeric: Numeric,
    /// The result of a product with dz/dx: the conditioning, or the backward pass. [rows, m], or
    /// [k, m] with respect to a parameter.
    product: Buffer,
    /// The sum of the squares of the samples' conditioning, [k, m]. Empty unless with respect to a
    /// parameter.
    squares: Buffer,
    submitted: VecDeque<SubmittedRows<T>>,
}

/// The buffers of the plan's method.
enum Numeric {
    Difference(Derivative),
    ForwardPass(Losses),
}

/// Rows whose evaluation was submitted.
struct SubmittedRows<T> {
    uploaded: Uploaded<T>,
    results: Submitted,
}

impl GpuDevice {
    /// Prepares a plan for a problem.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn engine<'a>(&'a self, problem: &'a Problem, plan: Plan) -> Result<Box<dyn Engine + 'a>> {
        Ok(match plan.precision {
            Precision::F32 => Box::new(GpuEngine::<f32>::new(self, problem, plan)?),
            Precision::F64 => Box::new(GpuEngine::<f64>::new(self, problem, plan)?),
        })
    }
}

impl<'a, T: Element> GpuEngine<'a, T> {
    /// Uploads the operands that do not depend on the rows, and creates the buffers for those that
    /// do.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn new(device: &'a GpuDevice, problem: &'a Problem, plan: Plan) -> Result<Self> {
        Self::with(device, problem, plan, false)
    }

    /// Creates an engine like [`GpuEngine::new`], and reserves memory for a comparison if
    /// `compares` is set.
    pub(super) fn with(
        device: &'a GpuDevice,
        problem: &'a Problem,
        plan: Plan,
        compares: bool,
    ) -> Result<Self> {
        check_limits::<T>(device, problem, plan.wrt)?;
        let weight = Weight::new::<T>(device, problem, &plan);
        let sizes = Sizes::new::<T>(device, problem, &plan, &weight, compares);
        let forward = Forward::new::<T>(device, &sizes, plan.wrt);
        let numeric = match plan.method {
            Method::Difference => Numeric::Difference(Derivative::new::<T>(device, &sizes, &plan)),
            Method::ForwardPass => Numeric::ForwardPass(Losses::new::<T>(device, &sizes, &plan)),
        };
        let product = device.empty::<T>("product", sizes.entries(sizes.rows));
        let of_parameter = if plan.wrt.is_parameter() {
            sizes.entries(sizes.rows)
        } else {
            0
        };
        let squares = device.empty::<T>("squares", of_parameter);
        device.check()?;
        Ok(Self {
            device,
            problem,
            plan,
            model: RoundingModel::of_gradient(problem, &plan),
            sizes,
            weight,
            forward,
            numeric,
            product,
            squares,
            submitted: VecDeque::new(),
        })
    }

    /// Writes the operands of a range of rows, and appends their evaluation.
    fn compute(&self, batch: &mut Batch<'_, T>, rows: Range<usize>) -> Uploaded<T> {
        let (count, wrt) = (rows.len(), self.plan.wrt);
        let (forward, weight, sizes) = (&self.forward, &self.weight, &self.sizes);
        let uploaded = forward.upload(self.device, self.problem, rows, sizes);
        forward.run(batch, weight, self.model, count);
        match &self.numeric {
            Numeric::Difference(it) => it.run(batch, forward, weight, sizes, wrt, count),
            Numeric::ForwardPass(it) => it.run(batch, forward, weight, sizes, wrt, count),
        }
        if wrt != Wrt::Logits {
            self.by_chain_rule(batch, &forward.conditioning, count, 1.0, true);
        }
        if wrt.is_parameter() {
            let magnitudes = Outer {
                squares: 1,
                ..self.outer(1.0, true)
            };
            self.add_samples(
                batch,
                magnitudes,
                [&forward.conditioning, &self.squares],
                count,
            );
        }
        uploaded
    }

    /// Returns the buffer to which [`GpuEngine::compute`] writes the conditioning.
    fn conditioning(&self) -> &Buffer {
        match self.plan.wrt {
            Wrt::Logits => &self.forward.conditioning,
            _ => &self.product,
        }
    }

    /// Appends the product of `left` [rows, k] with dz/dx, or |dz/dx|, divided by a normalizer.
    fn by_chain_rule(
        &self,
        batch: &mut Batch<'_, T>,
        left: &Buffer,
        rows: usize,
        normalizer: f64,
        magnitudes: bool,
    ) {
        if self.plan.wrt == Wrt::Input {
            let operands = [left, &self.product];
            self.weight
                .product(batch, operands, rows, normalizer, magnitudes);
            return;
        }
        let outer = self.outer(normalizer, magnitudes);
        self.add_samples(batch, outer, [left, &self.product], rows);
    }

    /// Returns a launch of `outer` without samples.
    fn outer(&self, normalizer: f64, magnitudes: bool) -> Outer {
        Outer {
            normalizer,
            columns: self.sizes.columns.padded as u32,
            classes: self.sizes.classes as u32,
            tile_begin: 0,
            tile_end: 0,
            magnitudes: u32::from(magnitudes),
            squares: 0,
        }
    }

    /// Appends `outer` for all rows, with `left` [rows, k] and the multiplier.
    fn add_samples(
        &self,
        batch: &mut Batch<'_, T>,
        outer: Outer,
        [left, product]: [&Buffer; 2],
        rows: usize,
    ) {
        for [tile_begin, tile_end] in tiles(0..rows, DISPATCH_TERMS) {
            let launch = Outer {
                tile_begin,
                tile_end,
                ..outer
            };
            batch.run(&launch, &[left, self.forward.multiplier(), product]);
        }
    }

    fn submit_rows(&mut self, rows: Range<usize>) {
        let (count, entries) = (rows.len(), self.sizes.entries(rows.len()));
        let mut batch = self.device.batch();
        let uploaded = self.compute(&mut batch, rows);
        let mut wanted = vec![
            (self.conditioning(), entries),
            (&self.forward.bounds, 2 * count),
        ];
        if self.plan.wrt.is_parameter() {
            wanted.push((&self.squares, entries));
        }
        match &self.numeric {
            Numeric::Difference(it) => wanted.push((&it.derivative, entries)),
            Numeric::ForwardPass(it) => {
                if self.plan.wrt != Wrt::Input {
                    wanted.push((&self.forward.logits, count * self.sizes.classes));
                }
                wanted.extend(it.losses.iter().map(|losses| (losses, entries)));
            }
        }
        let results = batch.submit(&wanted);
        self.submitted
            .push_back(SubmittedRows { uploaded, results });
    }

    fn collect_rows(&mut self) -> Result<Evaluated<T>> {
        let Some(SubmittedRows { uploaded, results }) = self.submitted.pop_front() else {
            return Err(self.device.failed("no rows were submitted"));
        };
        // The results arrive in the order of `wanted` in submit_rows.
        let mut arrived = results.wait(self.device)?.into_iter();
        let missing = || self.device.failed("results are missing");
        let mut next = || arrived.next().ok_or_else(missing);
        let (conditioning, bounds) = (next()?, next()?);
        let squares = self.plan.wrt.is_parameter().then(&mut next).transpose()?;
        let results = match &self.numeric {
            Numeric::Difference(_) => Results::Derivative(next()?),
            Numeric::ForwardPass(_) => {
                let base = match self.plan.wrt {
                    Wrt::Input => Base::Input(uploaded.input),
                    _ => Base::Logits(next()?),
                };
                Results::Losses(arrived.collect::<Vec<Readback>>(), base)
            }
        };
        Ok(Evaluated {
            columns: self.sizes.columns,
            conditioning,
            bounds,
            squares,
            results,
            totals: uploaded.totals,
        })
    }

    /// Appends the derivative and the conditioning of a range of rows. Returns the buffers that
    /// hold them and the bounds.
    pub(super) fn derivative(
        &self,
        batch: &mut Batch<'_, T>,
        rows: Range<usize>,
    ) -> Option<[&Buffer; 3]> {
        self.compute(batch, rows);
        match &self.numeric {
            Numeric::Difference(it) => {
                Some([&it.derivative, self.conditioning(), &self.forward.bounds])
            }
            Numeric::ForwardPass(_) => None,
        }
    }
}

impl<T: Element> Engine for GpuEngine<'_, T> {
    fn rows_per_call(&self) -> usize {
        self.sizes.rows
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        let count = rows.len();
        self.submit_rows(rows);
        let evaluated = self.collect_rows()?;
        if self.plan.wrt.is_parameter() {
            return Ok(evaluated.of_parameter(self.sizes.classes));
        }
        let mut evaluation = Evaluation::default();
        evaluated.rows(0..count, &mut evaluation);
        Ok(evaluation)
    }

    fn submit(&mut self, rows: Range<usize>) {
        self.submit_rows(rows);
    }

    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>> {
        Ok(Box::new(self.collect_rows()?))
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        let (count, normalizer) = (rows.len(), self.problem.normalizer());
        let (forward, sizes) = (&self.forward, &self.sizes);
        forward.upload::<T>(self.device, self.problem, rows, sizes);
        let mut batch = self.device.batch::<T>();
        forward.run(&mut batch, &self.weight, self.model, count);
        let entries = sizes.entries(count);
        if self.plan.wrt == Wrt::Logits {
            let gradient = batch.read(&[(&forward.gradient, entries)])?.concat();
            let normalizer = T::of(normalizer);
            return Ok(gradient
                .into_iter()
                .map(|g| (g / normalizer).f64())
                .collect());
        }
        self.by_chain_rule(&mut batch, &forward.gradient, count, normalizer, false);
        let product = batch.read(&[(&self.product, entries)])?.concat();
        let mut gradient = Vec::new();
        sizes.columns.unpad(&product, &mut gradient);
        Ok(gradient)
    }
}

/// Checks that every matrix that cannot be split fits in one binding.
///
/// # Errors
/// [`Error::Gpu`](crate::error::Error::Gpu) for the first matrix that does not.
fn check_limits<T: Element>(device: &GpuDevice, problem: &Problem, wrt: Wrt) -> Result<()> {
    let d = Columns::padded(problem.d()).padded;
    let of_parameter = match wrt {
        Wrt::Weight => problem.k() * d,
        _ => 0,
    };
    let most = device.binding_elements::<T>();
    for (name, elements) in [
        ("the weight's gradient", of_parameter),
        ("a row of the input", d),
        ("a row of the logits", problem.k()),
    ] {
        if elements > most {
            return Err(device.failed(format!(
                "{name} has {elements} elements, more than the {most} that one binding holds"
            )));
        }
    }
    Ok(())
}
