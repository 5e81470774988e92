//! The caller's view of a running check.

use crate::{error::Result, problem::Wrt};

/// Receives progress and the numeric gradient while a check runs, and may interrupt it.
pub trait Listener {
    /// Called before each gradient, with its number of entries and the bytes of input and gradient
    /// that will be read.
    fn begin(&mut self, _wrt: Wrt, _entries: u64, _bytes: u64) {}

    /// Called when `done` of `all` entries are compared.
    fn progress(&mut self, _done: u64, _all: u64) {}

    /// Called before a diagnosis considers each cause.
    fn diagnosing(&mut self) {}

    /// Returns true to stop the check, with a report of the rows that are done.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Returns true to receive the numeric gradient.
    fn wants_numeric(&self) -> bool {
        false
    }

    /// Called with the numeric gradient of the next rows, [rows·m], if it is wanted.
    ///
    /// # Errors
    /// [`Io`](crate::error::Error::Io) if it cannot be stored.
    fn numeric(&mut self, _rows: &[f64]) -> Result<()> {
        Ok(())
    }
}

/// Ignores everything.
impl Listener for () {}

/// Collects the numeric gradient.
impl Listener for Vec<f64> {
    fn wants_numeric(&self) -> bool {
        true
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        self.extend(rows);
        Ok(())
    }
}
