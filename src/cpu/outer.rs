//! A product leftᵀ · right, [k, rows] · [rows, m]: of R p - r with the input it is the weight's gradient, of the
//! conditioning's weights with |x| its conditioning.

use crate::{cpu::simd, tensor::Real};

/// Takes `left` [rows, k] and `right` [rows, m]; returns [k, m].
pub fn outer<T: Real>(left: &[T], right: &[T], k: usize, m: usize) -> Vec<T> {
    let mut product = vec![T::zero(); k * m];
    simd(
        #[inline(always)]
        || {
            for (left, right) in left.chunks_exact(k).zip(right.chunks_exact(m)) {
                for (sums, &left) in product.chunks_exact_mut(m).zip(left) {
                    for (sum, &right) in sums.iter_mut().zip(right) {
                        *sum += left * right;
                    }
                }
            }
        },
    );
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_the_rows() {
        let product = outer(
            &[1.0, 2.0, 3.0, 4.0],
            &[1.0, 0.0, -1.0, 2.0, 1.0, 0.5],
            2,
            3,
        );
        assert_eq!(product, [7.0, 3.0, 0.5, 10.0, 4.0, 0.0]);
    }
}
