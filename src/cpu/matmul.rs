//! A product [rows, k] · [k, d]: of the residual with W it is the backward pass, of the conditioning's weights with
//! |W| it is S + T.

use crate::{cpu::simd, tensor::Real};

/// Takes `left` [rows, k] and `right` [k, d].
pub fn matmul<T: Real>(left: &[T], right: &[T], d: usize) -> Vec<T> {
    let k = right.len() / d;
    let mut product = vec![T::zero(); left.len() / k * d];
    simd(
        #[inline(always)]
        || {
            for (sums, left) in product.chunks_exact_mut(d).zip(left.chunks_exact(k)) {
                accumulate(sums, left, right);
            }
        },
    );
    product
}

/// `sums[i]` += sum_c `left[c]`·right[c, i].
#[inline(always)]
pub(crate) fn accumulate<T: Real>(sums: &mut [T], left: &[T], right: &[T]) {
    for (&left, right) in left.iter().zip(right.chunks_exact(sums.len())) {
        for (sum, &right) in sums.iter_mut().zip(right) {
            *sum += left * right;
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
}
