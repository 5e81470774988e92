//! The GPU as an [`Engine`], in the arithmetic of the plan.

use std::ops::Range;

use super::{Element, Gpu, GpuDevice};
use crate::{
    engine::{Allowance, ComparingEngine, DeviceComparison, Engine, Evaluation, RowSource},
    error::Result,
    plan::Plan,
    problem::Problem,
    scheme::Precision,
    tensor::Tensor,
};

impl GpuDevice {
    /// Prepares a plan for a problem.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn engine<'a>(&'a self, problem: &'a Problem, plan: Plan) -> Result<Box<dyn Engine + 'a>> {
        Ok(match plan.precision {
            Precision::F32 => Box::new(Gpu::<f32>::new(self, problem, plan)?),
            Precision::F64 => Box::new(Gpu::<f64>::new(self, problem, plan)?),
        })
    }

    /// Prepares a plan, by `difference` and not of a parameter, for a problem whose gradient is compared on the device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the problem does not fit the device's limits.
    pub fn comparing_engine<'a>(
        &'a self,
        problem: &'a Problem,
        plan: Plan,
        allowance: &Allowance,
    ) -> Result<Box<dyn ComparingEngine + 'a>> {
        Ok(match plan.precision {
            Precision::F32 => Box::new(Gpu::<f32>::comparing(self, problem, plan, allowance)?),
            Precision::F64 => Box::new(Gpu::<f64>::comparing(self, problem, plan, allowance)?),
        })
    }
}

impl<T: Element> Engine for Gpu<'_, T> {
    fn rows_per_call(&self) -> usize {
        self.rows_per_call()
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        self.evaluate(rows)
    }

    fn submit(&mut self, rows: Range<usize>) {
        self.submit(rows);
    }

    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>> {
        Ok(Box::new(self.collect()?))
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        self.backward(rows)
    }
}

impl<T: Element> ComparingEngine for Gpu<'_, T> {
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor) {
        self.submit_comparison(rows, gradient);
    }

    fn collect_comparison(&mut self) -> Result<DeviceComparison> {
        self.collect_comparison()
    }
}
