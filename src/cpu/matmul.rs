//! A product [rows, k] · [k, d]: of the residual with W it is the backward pass, of the conditioning's weights with
//! |W| it is S + T.

use crate::{cpu::simd, tensor::Real};

/// Columns of a tile: two vectors of AVX-512 in f64.
pub(crate) const TILE: usize = 16;
/// Rows of a tile: their sums, and what is added to them, fit the vector registers.
const ROWS: usize = 4;

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
    let groups = product.chunks_mut(ROWS * d).zip(left.chunks(ROWS * k));
    for (group, (product, left)) in groups.enumerate() {
        let first = group * ROWS;
        match left.len() / k {
            ROWS => multiply_rows::<T, ROWS>(product, left, right, d, first, finish),
            rows => {
                for row in 0..rows {
                    let (product, left) = (&mut product[row * d..][..d], &left[row * k..][..k]);
                    multiply_rows::<T, 1>(product, left, right, d, first + row, finish);
                }
            }
        }
    }
}

#[inline(always)]
fn multiply_rows<T: Real, const R: usize>(
    product: &mut [T],
    left: &[T],
    right: &[T],
    d: usize,
    first: usize,
    finish: impl Fn(usize, usize, [T; TILE]) -> [T; TILE] + Copy,
) {
    let k = right.len() / d;
    let whole = d / TILE * TILE;
    for column in (0..whole).step_by(TILE) {
        let mut sums = [[T::zero(); TILE]; R];
        for c in 0..k {
            let right = &right[c * d + column..][..TILE];
            for (row, sums) in sums.iter_mut().enumerate() {
                let left = left[row * k + c];
                for (sum, &right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let sums = finish(first + row, column, sums);
            product[row * d + column..][..TILE].copy_from_slice(&sums);
        }
    }
    if whole == d {
        return;
    }
    for row in 0..R {
        let mut sums = [T::zero(); TILE];
        for (sum, column) in sums.iter_mut().zip(whole..d) {
            let terms = left[row * k..][..k]
                .iter()
                .zip(right[column..].iter().step_by(d));
            *sum = terms.fold(T::zero(), |sum, (left, right)| left.mul_add(*right, sum));
        }
        let sums = finish(first + row, whole, sums);
        product[row * d + whole..][..d - whole].copy_from_slice(&sums[..d - whole]);
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
        for (rows, k, d) in [(1, 3, 16), (4, 2, 15), (5, 7, 17), (9, 1, 33), (8, 10, 64)] {
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
