//! What a picture of the errors shows, in bins: it is small whatever the gradient's size.

use std::collections::HashMap;

/// Bins of the map of errors, down the rows and across the columns, at most.
const MOST_BINS: [usize; 2] = [64, 96];

/// Where the errors are and how large, and the gradient under test beside the numeric one.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Rows and columns of the gradient.
    pub shape: [usize; 2],
    /// Down the rows and across the columns.
    pub bins: [usize; 2],
    /// Row by row, bins in all.
    pub map: Vec<Cell>,
    /// Entries by |numeric| and |analytic|, each as [`Picture::size_bin`] has it.
    pub sizes: HashMap<[u16; 2], Pairs>,
    /// What the entries of a |numeric| may be off by, at most.
    pub allowed: HashMap<u16, f64>,
}

/// A part of the map.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// The greatest [`Entry::severity`](super::Entry::severity) in it.
    pub severity: f64,
    /// Wrong entries.
    pub wrong: u64,
    /// All that were compared.
    pub entries: u64,
}

/// Entries of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Whose two values have the same sign.
    pub alike: u64,
    /// The others.
    pub opposite: u64,
    /// Of both, those that are wrong.
    pub wrong: u64,
}

impl Picture {
    /// Bins of a size for each factor of two.
    const PER_OCTAVE_BITS: u32 = 2;

    /// Of a gradient of that shape, of which nothing is known yet.
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

    /// Adds an entry that was `allowed` to be off by so much.
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
        // 0 has no sign that could be wrong.
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

    /// Adds what was seen elsewhere of the same gradient.
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

    /// Where a value belongs by its size: 0 for 0, and four bins a factor of two.
    pub fn size_bin(value: f64) -> u16 {
        (value.abs().to_bits() >> (52 - Self::PER_OCTAVE_BITS)) as u16
    }

    /// The smallest value in a bin.
    pub fn least_of_bin(bin: u16) -> f64 {
        f64::from_bits(u64::from(bin) << (52 - Self::PER_OCTAVE_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_what_belongs_to_them() {
        for value in [0.0, 1e-300, 0.1, 1.0, 1.3, 3e8, f64::INFINITY] {
            let bin = Picture::size_bin(-value);
            assert!(Picture::least_of_bin(bin) <= value);
            assert!(value == f64::INFINITY || Picture::least_of_bin(bin + 1) > value);
        }
    }

    #[test]
    fn parts_add_up() {
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
