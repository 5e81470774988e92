//! The file that `--numeric` writes.

use std::path::Path;

use super::{npy::f64_header, output_file::OutputFile};
use crate::{error::Result, problem::Layout};

/// The numeric gradient as an npy file of f64, written a few rows at a time.
pub struct NumericFile {
    file: OutputFile,
    /// The number of values still to be written.
    left: usize,
    /// The rows and columns of the matrices that are transposed before they are written.
    transposed: [usize; 2],
    /// Values of a matrix that is not complete.
    held: Vec<f64>,
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
            transposed: [1, 1],
            held: Vec::new(),
        })
    }

    /// Creates a file for an array of this layout. If its rows are interleaved, such as the pixels
    /// of logits [n, k, h, w], holds those that lie together in memory.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be written.
    pub fn in_layout(path: &Path, layout: &Layout) -> Result<Self> {
        let file = Self::create(path, layout.shape())?;
        let transposed = match layout.interleaved() {
            1 => [1, 1],
            rows => [rows, layout.columns()],
        };
        Ok(Self { transposed, ..file })
    }

    /// Appends the next values.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if they cannot be written.
    pub fn write(&mut self, values: &[f64]) -> Result<()> {
        self.left = self.left.saturating_sub(values.len());
        let [rows, columns] = self.transposed;
        if rows * columns == 1 {
            return self.append(values);
        }
        self.held.extend(values);
        let whole = self.held.len() / (rows * columns) * (rows * columns);
        let rest = self.held.split_off(whole);
        let held = std::mem::replace(&mut self.held, rest);
        held.chunks_exact(rows * columns).try_for_each(|matrix| {
            let column = |column: usize| matrix[column..].iter().step_by(columns).copied();
            self.append(&(0..columns).flat_map(column).collect::<Vec<f64>>())
        })
    }

    fn append(&mut self, values: &[f64]) -> Result<()> {
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
