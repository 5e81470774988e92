//! The GPU engine that also compares, so that only sums are read back.

use std::{collections::VecDeque, ops::Range};

use super::{Element, GpuDevice, GpuEngine, Submitted, comparison::ComparisonPass};
use crate::{
    engine::{Allowance, ComparingEngine, DeviceComparison, Engine, Evaluation, RowSource},
    error::Result,
    plan::Plan,
    problem::Problem,
    scheme::Precision,
    tensor::Tensor,
};

/// A [`GpuEngine`] with the buffers of a comparison.
struct ComparingGpuEngine<'a, T> {
    engine: GpuEngine<'a, T>,
    pass: ComparisonPass,
    /// Rows whose comparison was submitted.
    submitted: VecDeque<(Range<usize>, Submitted)>,
}

impl GpuDevice {
    /// Prepares a plan for a problem whose gradient is compared on the device. The plan must use
    /// `difference`, and must not differentiate with respect to a parameter.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn comparing_engine<'a>(
        &'a self,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Box<dyn ComparingEngine + 'a>> {
        fn new<'a, T: Element>(
            device: &'a GpuDevice,
            problem: &'a Problem,
            plan: Plan,
            allowance: &Allowance,
        ) -> Result<Box<dyn ComparingEngine + 'a>> {
            let engine = ComparingGpuEngine::<T>::new(device, problem, plan, allowance)?;
            Ok(Box::new(engine))
        }
        match plan.precision {
            Precision::F32 => new::<f32>(self, problem, plan, allowance),
            Precision::F64 => new::<f64>(self, problem, plan, allowance),
        }
    }
}

impl<'a, T: Element> ComparingGpuEngine<'a, T> {
    fn new(
        device: &'a GpuDevice,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Self> {
        let engine = GpuEngine::with(device, problem, plan, true)?;
        let (rows, columns) = (engine.sizes.rows, engine.sizes.columns);
        let pass = ComparisonPass::new::<T>(device, allowance, rows, columns);
        device.check()?;
        Ok(Self {
            engine,
            pass,
            submitted: VecDeque::new(),
        })
    }
}

impl<T: Element> Engine for ComparingGpuEngine<'_, T> {
    fn rows_per_call(&self) -> usize {
        self.engine.rows_per_call()
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        self.engine.evaluate(rows)
    }

    fn submit(&mut self, rows: Range<usize>) {
        self.engine.submit(rows);
    }

    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>> {
        self.engine.collect()
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        self.engine.backward(rows)
    }
}

impl<T: Element> ComparingEngine for ComparingGpuEngine<'_, T> {
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor) {
        let mut batch = self.engine.device.batch::<T>();
        let Some(operands) = self.engine.derivative(&mut batch, rows.clone()) else {
            return;
        };
        let analytic = gradient.rows(rows.clone());
        self.pass.run(&mut batch, rows.len(), analytic, operands);
        let results = batch.submit(&self.pass.results::<T>(rows.len()));
        self.submitted.push_back((rows, results));
    }

    fn collect_comparison(&mut self) -> Result<DeviceComparison> {
        let device = self.engine.device;
        let missing = || device.failed("no comparison was submitted");
        let (rows, results) = self.submitted.pop_front().ok_or_else(missing)?;
        Ok(self.pass.read::<T>(rows, &results.wait(device)?))
    }
}
