//! The seam between a check and whatever computes its numeric gradient: the traits that the CPU and the GPU implement.

use std::ops::Range;

use crate::{
    error::Result,
    plan::{DeviceComparison, Evaluation, RowSource},
    tensor::Tensor,
};

/// Computes the losses of one plan for one problem, a range of rows at a time.
pub trait Engine {
    /// Returns the largest number of rows that one call may ask for.
    fn rows_per_call(&self) -> usize;

    /// Evaluates a range of rows: their losses, or loss differences, with their conditioning.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation>;

    /// Returns true if one row is too slow for one call. Such a row is evaluated by [`Engine::evaluate_in_parts`].
    fn splits_rows(&self) -> bool {
        false
    }

    /// Evaluates one row, some of its entries at a time. Calls `keep_going` with the share that is done before each part; returns `None`
    /// once that returns false.
    fn evaluate_in_parts(
        &mut self,
        _row: usize,
        _keep_going: &mut dyn FnMut(f64) -> bool,
    ) -> Option<Evaluation> {
        None
    }

    /// Starts the evaluation of a range of rows and returns at once; not for a parameter. Several ranges may be in flight.
    fn submit(&mut self, rows: Range<usize>);

    /// Returns the range that was submitted first. Several threads may read its rows.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>>;

    /// Computes the gradient of a range of rows by the chain rule, [rows·m].
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>>;
}

/// An engine that also compares, so that only sums are read back.
pub trait ComparingEngine: Engine {
    /// Starts the comparison of a range of rows of the gradient and returns at once.
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor);

    /// Returns the comparison that was submitted first.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn collect_comparison(&mut self) -> Result<DeviceComparison>;
}

/// Where the time of a device went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// Handing operands to the driver.
    pub upload: f64,
    /// In the kernels, by the device's own clock; 0 where it has none.
    pub kernels: f64,
    /// Waiting for results, while kernels run and copies are made.
    pub wait: f64,
}

impl Timing {
    /// What was spent since.
    pub fn since(self, before: Self) -> Self {
        Self {
            upload: self.upload - before.upload,
            kernels: self.kernels - before.kernels,
            wait: self.wait - before.wait,
        }
    }
}
