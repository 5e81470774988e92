//! The caller's view of a running check.

use crate::{error::Result, problem::Wrt};

/// A receiver of progress and of the numeric gradient while a check runs. It may interrupt the
/// check.
pub trait Listener {
    /// Handles the start of a gradient, with its number of entries and the bytes of input and
    /// gradient that will be read.
    fn begin(&mut self, _wrt: Wrt, _entries: u64, _bytes: u64) {}

    /// Handles progress: `done` of `all` entries are compared.
    fn progress(&mut self, _done: u64, _all: u64) {}

    /// Handles progress of a diagnosis. Called before each cause that it considers.
    fn diagnosing(&mut self) {}

    /// Returns true to stop the check, with a report of the rows that are done.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Returns true to receive the numeric gradient.
    fn wants_numeric(&self) -> bool {
        false
    }

    /// Takes the numeric gradient of the next rows, [rows·m]. Called only if
    /// [`wants_numeric`](Self::wants_numeric) returns true.
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
