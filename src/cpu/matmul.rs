//! A product [rows, k] · [k, d]: of the residual with W it is the backward pass, of the conditioning's weights with
//! |W| it is S + T.

use std::ops::Range;

use crate::{cpu::simd, tensor::Real};

/// Columns of a tile: two vectors of AVX-512 in f64.
pub(crate) const TILE: usize = 16;
/// Rows of a tile: their sums, and what is added to them, fit the vector registers.
const ROWS: usize = 4;
/// Classes whose part of a tile's columns stays in the cache for all rows.
const CLASSES: usize = 512;

/// Takes `left` [rows, k] and `right` [k, d].
pub fn matmul<T: Real>(left: &[T], right: &[T], d: usize) -> Vec<T> {
    let k = right.len() / d;
    let mut product = vec![T::zero(); left.len() / k * d];
    simd(
        #[inline(always)]
        || {
            multiply(
                &mut product,
                left,
                right,
                d,
                #[inline(always)]
                |_, _, sums| sums,
            );
        },
    );
    product
}

/// The same into `product` [rows, d], which is overwritten; for use inside of [`simd`]. Every entry is summed over the classes in order,
/// whatever the tile that it falls into. What is written is what `finish(row, column, sums)` makes of the entries of a row
/// from a column on; past the last column there may be zeros.
#[inline(always)]
pub(crate) fn multiply<T: Real>(
    product: &mut [T],
    left: &[T],
    right: &[T],
    d: usize,
    finish: impl Fn(usize, usize, [T; TILE]) -> [T; TILE] + Copy,
) {
    let k = right.len() / d;
    let rows = left.len() / k;
    // What is read of the right serves all rows before the next is.
    for begin in (0..k).step_by(CLASSES) {
        let classes = begin..k.min(begin + CLASSES);
        for column in (0..d).step_by(TILE) {
            let mut row = 0;
            while row + ROWS <= rows {
                let place = (row, column, classes.clone());
                multiply_tile::<T, ROWS>(product, left, right, d, place, finish);
                row += ROWS;
            }
            for row in row..rows {
                let place = (row, column, classes.clone());
                multiply_tile::<T, 1>(product, left, right, d, place, finish);
            }
        }
    }
}

/// Adds the terms of a range of classes to the entries from a row and a column on.
#[inline(always)]
fn multiply_tile<T: Real, const R: usize>(
    product: &mut [T],
    left: &[T],
    right: &[T],
    d: usize,
    (first, column, classes): (usize, usize, Range<usize>),
    finish: impl Fn(usize, usize, [T; TILE]) -> [T; TILE] + Copy,
) {
    let k = right.len() / d;
    let width = TILE.min(d - column);
    let mut sums = [[T::zero(); TILE]; R];
    if classes.start > 0 {
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = tile(&product[(first + row) * d..][..d], column);
        }
    }
    for c in classes.clone() {
        let right = tile(&right[c * d..][..d], column);
        for (row, sums) in sums.iter_mut().enumerate() {
            let left = left[(first + row) * k + c];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.mul_add(right, *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let sums = match classes.end == k {
            true => finish(first + row, column, sums),
            false => sums,
        };
        let product = &mut product[(first + row) * d + column..][..width];
        match <&mut [T; TILE]>::try_from(&mut *product) {
            Ok(tile) => *tile = sums,
            Err(_) => product.copy_from_slice(&sums[..width]),
        }
    }
}

/// Up to [`TILE`] values from a column on, and zeros.
#[inline(always)]
pub(crate) fn tile<T: Real>(row: &[T], column: usize) -> [T; TILE] {
    let values = &row[column..];
    match values.first_chunk() {
        Some(tile) => *tile,
        None => {
            let mut tile = [T::zero(); TILE];
            tile[..values.len()].copy_from_slice(values);
            tile
        }
    }
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
