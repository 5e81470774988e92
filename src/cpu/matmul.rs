//! Matrix product of left [rows, k] and right [k, d]: `product[j,i] = sum_c left[j,c] right[c,i]`.
//!
//! The engine multiplies twice by the weight. `(R p - r) · W` is the gradient with respect to the
//! input. The conditioning weights times |W| are the conditioning of its entries, sums·S + T. The
//! kernel [`difference`](super::difference) runs the same loops over other tables, and finishes
//! each sum differently.
//!
//! Method, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM
//! Transactions on Mathematical Software 34(3), 2008:
//!
//! 1. [`Packed`] stores the right side in panels of `TILE` columns. The inner loop then reads
//!    memory in order, and the weight is packed once for all calls.
//! 2. A tile is R rows by `TILE` columns. Its sums stay in vector registers while the loop runs
//!    over the classes. Each load of a panel serves R rows, and each load of the left side a whole
//!    tile.
//! 3. With many classes a panel does not fit the first-level cache. Each pass then takes
//!    `CLASSES_PER_PASS` classes through all rows, and adds the sums to those in memory.
//! 4. Every entry is the sum over passes of the sum over their classes in order, by fused
//!    multiply-adds from 0. It does not depend on tile or thread: an entry computed alone has the
//!    same bits as in a whole block. The error of such a sum is at most
//!    (`CLASSES_PER_PASS` + passes)·u·sum |terms| (Higham, "Accuracy and Stability of Numerical
//!    Algorithms", 2002, section 4.1). If all terms are equal, as with equal rows of the weight,
//!    the error of a plain sum would be near k·u, and
//!    [`RoundingModel`](crate::rounding::RoundingModel) allows for sqrt(k)·u.

use rayon::prelude::*;

use crate::{cpu::lanes::simd_by_width, tensor::Real};

/// Columns of a tile: two AVX-512 vectors of f64.
pub(crate) const TILE: usize = 16;
/// Fewest tiles to pack per task: 128 KiB of f64. Chosen to amortize the start of a task.
const TILES_PER_TASK: usize = 1 << 10;
/// Classes of a panel per pass over the rows: 16 KiB of f64, which stay in the first-level cache. A
/// short pass also rounds less.
const CLASSES_PER_PASS: usize = 128;

/// The right sides [k, d] of S products with one left side, in panels of `TILE` columns. The last
/// panel is padded with zeros.
pub struct Packed<T, const S: usize> {
    /// The columns of each panel, for each of the S right sides, [panels, k].
    tiles: Vec<[[T; TILE]; S]>,
    k: usize,
    d: usize,
}

impl<T: Real, const S: usize> Packed<T, S> {
    /// Packs S right sides [k, d].
    pub fn new(values: [&[T]; S], d: usize) -> Self {
        let tiles = |c: usize, column| values.map(|values| tile(&values[c * d..][..d], column));
        Self::of_tiles(values[0].len() / d, d, tiles)
    }

    /// Packs the tiles that `tiles(class, column)` returns, each for `TILE` columns from `column`
    /// on.
    pub(crate) fn of_tiles(
        k: usize,
        d: usize,
        tiles: impl Fn(usize, usize) -> [[T; TILE]; S] + Sync,
    ) -> Self {
        let mut all = vec![[[T::zero(); TILE]; S]; d.div_ceil(TILE) * k];
        let panels = all
            .par_chunks_mut(k)
            .with_min_len((TILES_PER_TASK / k).max(1));
        panels.enumerate().for_each(|(index, panel)| {
            for (c, packed) in panel.iter_mut().enumerate() {
                *packed = tiles(c, index * TILE);
            }
        });
        Self { tiles: all, k, d }
    }

    /// Returns the right sides with each value altered.
    pub(crate) fn map(&self, altered: impl Fn(T) -> T) -> Self {
        let tile = |tile: &[T; TILE]| tile.map(&altered);
        let tiles = self.tiles.iter();
        Self {
            tiles: tiles
                .map(|sides| std::array::from_fn(|s| tile(&sides[s])))
                .collect(),
            k: self.k,
            d: self.d,
        }
    }

    /// Returns all tiles, [panels, k].
    pub(crate) fn tiles(&self) -> &[[[T; TILE]; S]] {
        &self.tiles
    }

    /// Multiplies `left` [rows, k] in tiles of R rows and overwrites `product` [rows, d]. Must be
    /// called inside of [`simd_by_width`].
    ///
    /// `finish(row, column, sums, panel)` turns the S sums of a row, for `TILE` columns from
    /// `column` on, into entries of `product`. `MAGNITUDES` multiplies by the absolute values of
    /// the right side.
    #[inline(always)]
    pub(crate) fn multiply<const R: usize, const MAGNITUDES: bool>(
        &self,
        product: &mut Vec<T>,
        left: &[T],
        finish: impl Fn(usize, usize, &[[T; TILE]; S], &[[[T; TILE]; S]]) -> [T; TILE] + Copy,
    ) {
        let Self { k, d, .. } = *self;
        product.resize(left.len() / k * d, T::zero());
        let lefts = in_tiles::<T, R>(left, k);
        // Partial sums, if a panel takes several passes.
        let mut partial = vec![[[[T::zero(); TILE]; S]; R]; lefts.len() / k];
        let partial = partial.as_mut_slice();
        for column in (0..d).step_by(TILE) {
            // Only the last panel copies a length that is unknown at compile time.
            if column + TILE <= d {
                self.panel::<R, MAGNITUDES, true>(product, column, &lefts, partial, finish)
            } else {
                self.panel::<R, MAGNITUDES, false>(product, column, &lefts, partial, finish)
            }
        }
    }

    /// Computes the columns of one panel for all rows.
    #[inline(always)]
    fn panel<const R: usize, const MAGNITUDES: bool, const IS_WHOLE: bool>(
        &self,
        product: &mut [T],
        column: usize,
        lefts: &[[T; R]],
        partial: &mut [[[[T; TILE]; S]; R]],
        finish: impl Fn(usize, usize, &[[T; TILE]; S], &[[[T; TILE]; S]]) -> [T; TILE] + Copy,
    ) {
        let Self { k, d, .. } = *self;
        let rows = product.len() / d;
        let panel = &self.tiles[column / TILE * k..][..k];
        for begin in (0..k).step_by(CLASSES_PER_PASS) {
            let classes = begin..k.min(begin + CLASSES_PER_PASS);
            for (tile, (left, partial)) in lefts.chunks_exact(k).zip(&mut *partial).enumerate() {
                let mut sums = [[[T::zero(); TILE]; S]; R];
                add_products::<T, R, S, MAGNITUDES>(
                    &mut sums,
                    &left[classes.clone()],
                    &panel[classes.clone()],
                );
                if begin > 0 {
                    add_partial(&mut sums, partial);
                }
                if classes.end < k {
                    *partial = sums;
                    continue;
                }
                for (row, sums) in (tile * R..rows).zip(&sums) {
                    let entries = finish(row, column, sums, panel);
                    let place = &mut product[row * d + column..];
                    if IS_WHOLE {
                        place[..TILE].copy_from_slice(&entries);
                    } else {
                        place[..d - column].copy_from_slice(&entries[..d - column]);
                    }
                }
            }
        }
    }
}

/// Converts `left` [rows, k] to [rows / R, k] tiles of R rows. The last tiles are padded with
/// zeros.
fn in_tiles<T: Real, const R: usize>(left: &[T], k: usize) -> Vec<[T; R]> {
    let mut tiles = Vec::with_capacity(left.len().div_ceil(R * k) * k);
    for rows in left.chunks(R * k) {
        let of_class = |c| std::array::from_fn(|row| rows.get(row * k + c).copied());
        let of_class = |c| of_class(c).map(|v: Option<T>| v.unwrap_or_default());
        tiles.extend((0..k).map(of_class));
    }
    tiles
}

/// Adds the products of some classes to the sums of a tile. The body has no calls and no bounds
/// checks, so that the compiler keeps the sums in registers.
#[inline(always)]
fn add_products<T: Real, const R: usize, const S: usize, const MAGNITUDES: bool>(
    sums: &mut [[[T; TILE]; S]; R],
    left: &[[T; R]],
    right: &[[[T; TILE]; S]],
) {
    for (left, right) in left.iter().zip(right) {
        for row in 0..R {
            for s in 0..S {
                for lane in 0..TILE {
                    let right = if MAGNITUDES {
                        right[s][lane].abs()
                    } else {
                        right[s][lane]
                    };
                    sums[row][s][lane] = left[row].mul_add(right, sums[row][s][lane]);
                }
            }
        }
    }
}

/// Adds the sums of the passes so far.
#[inline(always)]
fn add_partial<T: Real, const R: usize, const S: usize>(
    sums: &mut [[[T; TILE]; S]; R],
    partial: &[[[T; TILE]; S]; R],
) {
    for (sums, partial) in sums
        .as_flattened_mut()
        .iter_mut()
        .zip(partial.as_flattened())
    {
        for lane in 0..TILE {
            sums[lane] += partial[lane];
        }
    }
}

/// Overwrites `product` [rows, d] with `left` [rows, k] times `right` [k, d].
pub(crate) fn matmul_into<T: Real>(product: &mut Vec<T>, left: &[T], right: &Packed<T, 1>) {
    matmul_by::<T, false>(product, left, right);
}

/// Overwrites `product` [rows, d] with `left` [rows, k] times |`right`| [k, d].
pub(crate) fn matmul_magnitudes<T: Real>(product: &mut Vec<T>, left: &[T], right: &Packed<T, 1>) {
    matmul_by::<T, true>(product, left, right);
}

fn matmul_by<T: Real, const MAGNITUDES: bool>(
    product: &mut Vec<T>,
    left: &[T],
    right: &Packed<T, 1>,
) {
    // The sums of R rows, and two operands, fit in the 32 or 16 vector registers.
    simd_by_width(
        product,
        #[inline(always)]
        |product| right.multiply::<4, MAGNITUDES>(product, left, sum_of_one),
        #[inline(always)]
        |product| right.multiply::<2, MAGNITUDES>(product, left, sum_of_one),
    );
}

/// The entries of a plain product.
#[inline(always)]
fn sum_of_one<T: Real>(
    _row: usize,
    _column: usize,
    [sums]: &[[T; TILE]; 1],
    _panel: &[[[T; TILE]; 1]],
) -> [T; TILE] {
    *sums
}

/// Returns `left` [rows, k] times `right` [k, d].
pub fn matmul<T: Real>(left: &[T], right: &[T], d: usize) -> Vec<T> {
    let mut product = Vec::new();
    matmul_into(&mut product, left, &Packed::new([right], d));
    product
}

/// Returns `TILE` values of `row` from `column` on, padded with zeros.
#[inline(always)]
pub(crate) fn tile<T: Real>(row: &[T], column: usize) -> [T; TILE] {
    let values = &row[column..];
    match values.first_chunk() {
        Some(tile) => *tile,
        None => padded(values),
    }
}

/// Returns fewer than N `values`, padded with zeros.
///
/// Not inlined: a copy without a fixed length would force the caller's vectors into memory.
#[cold]
#[inline(never)]
pub(crate) fn padded<T: Real, const N: usize>(values: &[T]) -> [T; N] {
    let mut vector = [T::zero(); N];
    vector[..values.len()].copy_from_slice(values);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_two_matrices() {
        let product = matmul(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, -1.0, 2.0, 1.0, 0.5], 3);
        assert_eq!(product, [5.0, 2.0, 0.0, 11.0, 4.0, -1.0]);
    }

    #[test]
    fn every_entry_is_the_sum_of_the_passes_whatever_its_tile() {
        let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 101.0 - 0.5;
        for (rows, k, d) in [
            (1, 3, 16),
            (4, 2, 15),
            (5, 7, 17),
            (9, 1, 33),
            (8, 10, 64),
            (6, 1100, 18),
        ] {
            let left: Vec<f64> = (0..rows * k).map(value).collect();
            let right: Vec<f64> = (5..5 + k * d).map(value).collect();
            let product = matmul(&left, &right, d);
            for row in 0..rows {
                for i in 0..d {
                    let pass = |begin: usize| {
                        (begin..k.min(begin + CLASSES_PER_PASS)).fold(0.0, |sum, c| {
                            left[row * k + c].mul_add(right[c * d + i], sum)
                        })
                    };
                    let passes = (0..k).step_by(CLASSES_PER_PASS).map(pass);
                    let sum: f64 = passes.reduce(|sum, pass| sum + pass).unwrap();
                    assert_eq!(product[row * d + i], sum, "{rows}x{k}x{d}");
                }
            }
        }
    }
}
