//! The errors of a gradient in bins, for a picture. The number of bins does not grow with the
//! gradient.

use std::collections::HashMap;

/// The most bins of the map of errors, down the rows and across the columns. Chosen: a cell is a
/// few pixels wide on the page.
const MOST_BINS: [usize; 2] = [64, 96];

/// The places and sizes of the errors, and the sizes of analytic and numeric entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The rows and columns of the gradient.
    pub shape: [usize; 2],
    /// The bins of the map, down the rows and across the columns.
    pub bins: [usize; 2],
    /// The cells of the map, row by row.
    pub map: Vec<Cell>,
    /// Entries by the [bins](Picture::size_bin) of |numeric| and |analytic|.
    pub sizes: HashMap<[u16; 2], Pairs>,
    /// The largest allowed error by the bin of |numeric|.
    pub allowed: HashMap<u16, f64>,
}

/// One cell of the map of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// The greatest [`Entry::severity`](super::Entry::severity) in the cell.
    pub severity: f64,
    /// Wrong entries.
    pub wrong: u64,
    /// Entries that were compared.
    pub entries: u64,
}

/// The entries with one pair of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Entries whose two values have the same sign.
    pub alike: u64,
    /// Entries whose two values have opposite signs.
    pub opposite: u64,
    /// Wrong entries among both.
    pub wrong: u64,
}

impl Picture {
    /// The binary logarithm of the number of bins for each factor of two. Chosen.
    const PER_OCTAVE_BITS: u32 = 2;

    /// Returns an empty picture of a gradient, [rows, columns].
    pub fn new(shape: [usize; 2]) -> Self {
        let bins = [0, 1].map(|axis| shape[axis].min(MOST_BINS[axis]));
        Self {
            shape,
            bins,
            map: vec![Cell::default(); bins[0] * bins[1]],
            sizes: HashMap::new(),
            allowed: HashMap::new(),
        }
    }

    /// Adds an entry, with the error that it is `allowed`.
    pub fn add(
        &mut self,
        [row, column]: [usize; 2],
        [analytic, numeric]: [f64; 2],
        allowed: f64,
        is_wrong: bool,
    ) {
        let [down, across] = self.bins;
        let [rows, columns] = self.shape;
        let cell = &mut self.map[row * down / rows * across + column * across / columns];
        let error = (analytic - numeric).abs();
        let severity = match error {
            0.0 => 0.0,
            error if error.is_finite() => error / allowed,
            _ => f64::INFINITY,
        };
        cell.severity = cell.severity.max(severity);
        cell.wrong += u64::from(is_wrong);
        cell.entries += 1;
        let sizes = [numeric, analytic].map(Self::size_bin);
        let pairs = self.sizes.entry(sizes).or_default();
        // 0 has no sign.
        let is_zero = analytic == 0.0 || numeric == 0.0;
        if is_zero || (analytic < 0.0) == (numeric < 0.0) {
            pairs.alike += 1
        } else {
            pairs.opposite += 1
        }
        pairs.wrong += u64::from(is_wrong);
        let most = self.allowed.entry(sizes[0]).or_default();
        *most = most.max(allowed);
    }

    /// Adds the picture of other rows of the same gradient.
    pub fn merge(&mut self, other: Self) {
        for (cell, other) in self.map.iter_mut().zip(other.map) {
            cell.severity = cell.severity.max(other.severity);
            cell.wrong += other.wrong;
            cell.entries += other.entries;
        }
        for (sizes, other) in other.sizes {
            let pairs = self.sizes.entry(sizes).or_default();
            pairs.alike += other.alike;
            pairs.opposite += other.opposite;
            pairs.wrong += other.wrong;
        }
        for (size, other) in other.allowed {
            let most = self.allowed.entry(size).or_default();
            *most = most.max(other);
        }
    }

    /// Returns the bin of |value|: 0 for 0, then four bins for each factor of two.
    pub fn size_bin(value: f64) -> u16 {
        (value.abs().to_bits() >> (52 - Self::PER_OCTAVE_BITS)) as u16
    }

    /// Returns the smallest value in a bin.
    pub fn least_of_bin(bin: u16) -> f64 {
        f64::from_bits(u64::from(bin) << (52 - Self::PER_OCTAVE_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_holds_the_values_of_its_size() {
        for value in [0.0, 1e-300, 0.1, 1.0, 1.3, 3e8, f64::INFINITY] {
            let bin = Picture::size_bin(-value);
            assert!(Picture::least_of_bin(bin) <= value);
            assert!(value == f64::INFINITY || Picture::least_of_bin(bin + 1) > value);
        }
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let add = |picture: &mut Picture, rows: std::ops::Range<usize>| {
            for row in rows {
                picture.add([row, row % 3], [row as f64, 1.0], 0.5, row != 1);
            }
        };
        let mut whole = Picture::new([200, 3]);
        add(&mut whole, 0..200);
        let (mut left, mut right) = (Picture::new([200, 3]), Picture::new([200, 3]));
        add(&mut left, 0..77);
        add(&mut right, 77..200);
        left.merge(right);
        assert_eq!(left, whole);
        assert_eq!(whole.map.len(), 64 * 3);
        assert_eq!(whole.map.iter().map(|cell| cell.wrong).sum::<u64>(), 199);
    }
}
