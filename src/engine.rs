//! The interface between a check and the engine that computes its numeric gradient: the traits that
//! the CPU and the GPU implement, and the results that they return.

use std::ops::Range;

use crate::{error::Result, tensor::Tensor};

mod comparison;
mod evaluation;

pub use comparison::{Allowance, Block, BlockColumns, DeviceComparison};
pub use evaluation::{Bounds, Evaluation, Losses, Values};

/// An engine that computes the numeric gradient of one plan for one problem, a range of rows at a
/// time.
pub trait Engine {
    /// Returns the largest number of rows that one call may ask for.
    fn rows_per_call(&self) -> usize;

    /// Evaluates a range of rows. With respect to a parameter, returns the sums over these samples.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation>;

    /// Returns true if one row is too slow for one call. Such a row is evaluated by
    /// [`Engine::evaluate_in_parts`].
    fn splits_rows(&self) -> bool {
        false
    }

    /// Evaluates one row, a part of its entries at a time. Before each part, calls `keep_going`
    /// with the fraction done. Returns `None` once `keep_going` returns false.
    fn evaluate_in_parts(
        &mut self,
        _row: usize,
        _keep_going: &mut dyn FnMut(f64) -> bool,
    ) -> Option<Evaluation> {
        None
    }

    /// Starts the evaluation of a range of rows and returns at once. Several ranges may be in
    /// flight. Does not support parameters.
    fn submit(&mut self, rows: Range<usize>);

    /// Waits for the range that was submitted first, and returns its evaluation.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>>;

    /// Computes the gradient of a range of rows by the chain rule, [rows·m]. With respect to a
    /// parameter, returns the sum over these samples, [k·m].
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>>;
}

/// An engine that also compares, so that the host reads back sums only.
pub trait ComparingEngine: Engine {
    /// Starts the comparison of a range of rows of the gradient and returns at once.
    fn submit_comparison(&mut self, rows: Range<usize>, gradient: &Tensor);

    /// Waits for the comparison that was submitted first, and returns it.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the device's driver reports a fault.
    fn collect_comparison(&mut self) -> Result<DeviceComparison>;
}

/// The evaluation of a range of rows, which several threads may read a few rows at a time.
pub trait RowSource: Sync {
    /// Writes the evaluation of a range of rows to `evaluation`. Rows are counted from the source's
    /// first row.
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation);
}

impl RowSource for Evaluation {
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        *evaluation = Evaluation::rows(self, rows);
    }
}

/// The time that a device has spent, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// Time spent handing operands to the driver.
    pub upload: f64,
    /// Time spent in kernels, by the device's own clock; 0 if it has none.
    pub kernels: f64,
    /// Time spent waiting for results, while kernels run and copies are made.
    pub wait: f64,
}

impl Timing {
    /// Returns the time spent since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            upload: self.upload - before.upload,
            kernels: self.kernels - before.kernels,
            wait: self.wait - before.wait,
        }
    }
}
