//! Columns of a matrix on the device, padded for kernels that read four at a time.

use super::{Element, kernel::TILE_COLUMNS};

/// The number of columns of a matrix, without and with its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) count: usize,
    pub(super) padded: usize,
}

impl Columns {
    /// Returns columns that are padded to a multiple of [`TILE_COLUMNS`].
    pub(super) fn padded(count: usize) -> Self {
        Self {
            count,
            padded: count.next_multiple_of(TILE_COLUMNS),
        }
    }

    /// Returns columns without padding.
    pub(super) fn plain(count: usize) -> Self {
        Self {
            count,
            padded: count,
        }
    }

    /// Pads rows with zeros.
    pub(super) fn pad<T: Element>(self, values: Vec<T>) -> Vec<T> {
        if self.count == self.padded {
            return values;
        }
        let mut padded = vec![T::zero(); values.len() / self.count * self.padded];
        let rows = padded.chunks_exact_mut(self.padded);
        for (padded, row) in rows.zip(values.chunks_exact(self.count)) {
            padded[..self.count].copy_from_slice(row);
        }
        padded
    }

    /// Widens rows, removes their padding, and overwrites `unpadded` with the result.
    pub(super) fn unpad<T: Element>(self, padded: &[T], unpadded: &mut Vec<f64>) {
        unpadded.clear();
        for row in padded.chunks_exact(self.padded) {
            unpadded.extend(row[..self.count].iter().map(|v| v.f64()));
        }
    }
}
