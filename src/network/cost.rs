//! The cost of a check: its work, and the memory that it needs beside the tensors of the file.

use super::{build::Network, reverse::AHEAD};

/// Multiply-adds for each entry of a parameter and sample: some twelve products forward, backward
/// and of their errors, and a share of eight draws. Measured.
const PER_PARAMETER: f64 = 16.0;
/// Multiply-adds for each value of a sample, in functions and errors of functions. Measured.
const PER_VALUE: f64 = 200.0;
/// Bytes for each entry of a parameter: its value and its square, each in two layouts, and its sums
/// twice. Measured, rounded up.
const BYTES_OF_PARAMETER: u64 = 112;
/// Bytes for each value of a block: it, its gradient, and the errors of both. Measured, rounded up.
const BYTES_OF_VALUE: u64 = 128;

impl Network {
    /// Returns the approximate multiply-adds of a check.
    pub fn work(&self) -> f64 {
        let [parameters, values] = self.sizes().map(|size| size as f64);
        self.n as f64 * (PER_PARAMETER * parameters + PER_VALUE * values)
    }

    /// Returns the approximate peak memory of a check, in bytes.
    pub fn memory(&self) -> u64 {
        let [parameters, values] = self.sizes().map(|size| size as u64);
        let blocks = (AHEAD * rayon::current_num_threads() + 1) as u64;
        let rows = self.block_rows().min(self.n) as u64;
        BYTES_OF_PARAMETER * parameters + BYTES_OF_VALUE * blocks * rows * values
    }

    /// Returns the entries of all parameters, and the values of a sample.
    fn sizes(&self) -> [usize; 2] {
        let parameters = self.parameters.iter().map(|it| it.entries).sum();
        [parameters, self.values.iter().map(|it| it.width).sum()]
    }
}
