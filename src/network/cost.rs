//! The cost of a check: its work, and the memory that it needs beside the tensors of the file.

use super::{build::Network, reverse::BYTES_OF_VALUE};

/// Multiply-adds for each entry of a parameter and sample: some twelve products forward, backward
/// and of their errors, and a share of eight draws. Measured.
const PER_PARAMETER: f64 = 16.0;
/// Multiply-adds for each value of a sample, in functions and errors of functions. Measured.
const PER_VALUE: f64 = 200.0;

/// Bytes for each entry of a parameter: it and its square, each in two layouts, and those to make
/// them. Measured, rounded up.
const KEPT: usize = 48;
/// Bytes for each entry of a parameter whose sums are kept, from wave to wave or until eight draws
/// show how far they spread. Measured, rounded up.
const SUMMED: usize = 64;
/// Bytes for each entry of a parameter that a thread completes: its sums, their errors, products,
/// the analytic values and what is allowed. Measured, rounded up.
const COMPLETED: usize = 128;

impl Network {
    /// Returns the approximate multiply-adds of a check.
    pub fn work(&self) -> f64 {
        let entries: usize = self.parameters.iter().map(|it| it.entries).sum();
        self.n as f64 * (PER_PARAMETER * entries as f64 + PER_VALUE * self.width() as f64)
    }

    /// Returns the approximate peak memory of a check, in bytes.
    pub fn memory(&self) -> u64 {
        let all: usize = self.parameters.iter().map(|it| it.entries).sum();
        let tested = self.parameters.iter().filter(|it| it.gradient.is_some());
        let mut tested: Vec<usize> = tested.map(|it| it.entries).collect();
        tested.sort_unstable();
        let largest = tested.iter().rev().take(rayon::current_num_threads());
        let rows = (self.blocks_of_wave() * self.block_rows()).min(self.n);
        let bytes = KEPT * all
            + SUMMED * tested.iter().sum::<usize>()
            + COMPLETED * largest.sum::<usize>()
            + BYTES_OF_VALUE * rows * self.width();
        bytes as u64
    }

    /// Returns the number of values of a sample.
    pub(super) fn width(&self) -> usize {
        self.values.iter().map(|value| value.width).sum()
    }
}
