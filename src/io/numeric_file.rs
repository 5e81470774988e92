//! The file that `--numeric` writes.

use std::path::Path;

use super::{npy::f64_header, output_file::OutputFile};
use crate::error::Result;

/// The numeric gradient as an npy file of f64, written a few rows at a time.
pub struct NumericFile {
    file: OutputFile,
    /// The number of values still to be written.
    left: usize,
}

impl NumericFile {
    /// Creates a file for an array of this shape, and writes the header.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be written.
    pub fn create(path: &Path, shape: &[usize]) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        file.write(&f64_header(shape))?;
        Ok(Self {
            file,
            left: shape.iter().product(),
        })
    }

    /// Appends the next values.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if they cannot be written.
    pub fn write(&mut self, values: &[f64]) -> Result<()> {
        self.left = self.left.saturating_sub(values.len());
        let mut values = values.iter();
        values.try_for_each(|value| self.file.write(&value.to_le_bytes()))
    }

    /// Renames the file to its final name if all values were written. Removes it otherwise.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be renamed.
    pub fn finish(self) -> Result<()> {
        if self.left == 0 {
            self.file.finish()
        } else {
            Ok(())
        }
    }
}
