//! A product [rows, k] · [k, d]: of the residual with W it is the backward pass, of the conditioning's weights with
//! |W| it is S + T.

use rayon::prelude::*;

use crate::{
    cpu::{has_wide_vectors, simd},
    tensor::Real,
};

/// Columns of a tile: two vectors of AVX-512 in f64.
pub(crate) const TILE: usize = 16;
/// Tiles that are worth a thread.
const TILES: usize = 1 << 10;
/// Classes whose part of a tile's columns stays in the cache for all rows.
const CLASSES: usize = 512;

/// The right sides [k, d] of S products with one left side, in panels of `TILE` columns, so that what a tile reads lies one after
/// the other; the last panel is padded with zeros.
pub struct Packed<T, const S: usize> {
    /// [panels, k].
    tiles: Vec<[[T; TILE]; S]>,
    k: usize,
    d: usize,
}

impl<T: Real, const S: usize> Packed<T, S> {
    /// Of values [k, d].
    pub fn new(values: [&[T]; S], d: usize) -> Self {
        let of_row = |values: &[T], c, column| tile(&values[c * d..][..d], column);
        let tiles = |c, column| values.map(|values| of_row(values, c, column));
        Self::of_tiles(values[0].len() / d, d, tiles)
    }

    /// Of the tiles of every class from a column on, as `tiles(class, column)` gives them.
    pub(crate) fn of_tiles(
        k: usize,
        d: usize,
        tiles: impl Fn(usize, usize) -> [[T; TILE]; S] + Sync,
    ) -> Self {
        let mut all = vec![[[T::zero(); TILE]; S]; d.div_ceil(TILE) * k];
        let panels = all.par_chunks_mut(k).with_min_len((TILES / k).max(1));
        panels.enumerate().for_each(|(panel, place)| {
            for (c, place) in place.iter_mut().enumerate() {
                *place = tiles(c, panel * TILE);
            }
        });
        Self { tiles: all, k, d }
    }

    /// All of them, [panels, k].
    pub(crate) fn tiles(&self) -> &[[[T; TILE]; S]] {
        &self.tiles
    }

    /// Takes `left` [rows, k] in tiles of R rows, for use inside of [`simd`]: `product` [rows, d] is overwritten by what
    /// `finish(row, column, sums, right)` makes of the entries of a row from a column on, those of each product, `right` being
    /// the panel. Every entry is summed over the classes in order, whatever the tile that it falls into.
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
        // The sums of the classes so far, where those of a panel do not fit the cache together.
        let mut partial = vec![[[[T::zero(); TILE]; S]; R]; lefts.len() / k];
        let partial = partial.as_mut_slice();
        for column in (0..d).step_by(TILE) {
            // Tiles that may not be whole go through memory.
            if column + TILE <= d {
                self.panel::<R, MAGNITUDES, true>(product, column, &lefts, partial, finish)
            } else {
                self.panel::<R, MAGNITUDES, false>(product, column, &lefts, partial, finish)
            }
        }
    }

    /// The columns of one panel.
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
        // What is read of the right serves all rows before the next is.
        for begin in (0..k).step_by(CLASSES) {
            let classes = begin..k.min(begin + CLASSES);
            for (tile, (left, partial)) in lefts.chunks_exact(k).zip(&mut *partial).enumerate() {
                let mut sums = [[[T::zero(); TILE]; S]; R];
                if begin > 0 {
                    sums = *partial;
                }
                add_products::<T, R, S, MAGNITUDES>(
                    &mut sums,
                    &left[classes.clone()],
                    &panel[classes.clone()],
                );
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

/// The values [rows, k] of R rows at a time beside each other, [rows / R, k]; zeros where there are no more rows.
fn in_tiles<T: Real, const R: usize>(left: &[T], k: usize) -> Vec<[T; R]> {
    let mut tiles = Vec::with_capacity(left.len().div_ceil(R * k) * k);
    for rows in left.chunks(R * k) {
        let of_class = |c| std::array::from_fn(|row| rows.get(row * k + c).copied());
        let of_class = |c| of_class(c).map(|v: Option<T>| v.unwrap_or_default());
        tiles.extend((0..k).map(of_class));
    }
    tiles
}

/// Adds the products of some classes. No calls, and no indices that may be out of bounds: the sums stay in registers.
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

/// Takes `left` [rows, k] and `right`, overwrites `product` [rows, d].
pub(crate) fn matmul_into<T: Real>(product: &mut Vec<T>, left: &[T], right: &Packed<T, 1>) {
    matmul_by::<T, false>(product, left, right);
}

/// The same with the magnitudes of the right side.
pub(crate) fn matmul_magnitudes<T: Real>(product: &mut Vec<T>, left: &[T], right: &Packed<T, 1>) {
    matmul_by::<T, true>(product, left, right);
}

fn matmul_by<T: Real, const MAGNITUDES: bool>(
    product: &mut Vec<T>,
    left: &[T],
    right: &Packed<T, 1>,
) {
    if has_wide_vectors() {
        matmul_in::<T, 4, MAGNITUDES>(product, left, right)
    } else {
        matmul_in::<T, 2, MAGNITUDES>(product, left, right)
    }
}

/// In tiles of R rows: their sums, and what is added to them, fit the vector registers.
fn matmul_in<T: Real, const R: usize, const MAGNITUDES: bool>(
    product: &mut Vec<T>,
    left: &[T],
    right: &Packed<T, 1>,
) {
    simd(
        #[inline(always)]
        || {
            right.multiply::<R, MAGNITUDES>(
                product,
                left,
                #[inline(always)]
                |_, _, [sums], _| *sums,
            );
        },
    );
}

/// Takes `left` [rows, k] and `right` [k, d]; returns [rows, d].
pub fn matmul<T: Real>(left: &[T], right: &[T], d: usize) -> Vec<T> {
    let mut product = Vec::new();
    matmul_into(&mut product, left, &Packed::new([right], d));
    product
}

/// Up to [`TILE`] values from a column on, and zeros.
#[inline(always)]
pub(crate) fn tile<T: Real>(row: &[T], column: usize) -> [T; TILE] {
    let values = &row[column..];
    match values.first_chunk() {
        Some(tile) => *tile,
        None => padded(values),
    }
}

/// Fewer values than a vector has, and zeros. Not inlined: a vector that a copy of unknown length may fill is in memory, always.
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
    fn multiplies() {
        let product = matmul(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, -1.0, 2.0, 1.0, 0.5], 3);
        assert_eq!(product, [5.0, 2.0, 0.0, 11.0, 4.0, -1.0]);
    }

    #[test]
    fn tiles_do_not_show() {
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
                    let sum = (0..k).fold(0.0, |sum, c| {
                        left[row * k + c].mul_add(right[c * d + i], sum)
                    });
                    assert_eq!(product[row * d + i], sum, "{rows}x{k}x{d}");
                }
            }
        }
    }
}
