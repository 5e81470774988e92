//! Product of the transposed left [rows, k] and right [rows, m], [k, m]:
//! `sum_j left[j,c] right[j,i]`.
//!
//! `(R p - r)ᵀ · x` is the gradient with respect to the weight. The conditioning weights times |x|
//! are the conditioning of its entries, sums·S + T. The squares of these products add up to the
//! square of the conditioning of samples that err independently. For the bias, x is 1.

use crate::{cpu::lanes::simd, tensor::Real};

/// Returns the transpose of `left` [rows, k] times `right` [rows, m]: [k, m].
///
/// 1. The outer loop takes a row, and adds the product of its two vectors to all sums. The inner
///    loop then reads and writes memory in order, and vector instructions take several columns at a
///    time.
/// 2. Every entry is the sum over the rows in order, so its error is at most rows·u·sum |terms|.
///    The caller keeps `rows` small, by adding up parts of the samples: see `ordered::fold_parts`.
pub fn outer<T: Real>(left: &[T], right: &[T], k: usize, m: usize) -> Vec<T> {
    outer_by(
        left,
        right,
        k,
        m,
        #[inline(always)]
        |left, right| left * right,
    )
}

/// Returns the same with the squares of the products: `sum_j (left[j,c] right[j,i])²`.
pub fn outer_squares<T: Real>(left: &[T], right: &[T], k: usize, m: usize) -> Vec<T> {
    outer_by(
        left,
        right,
        k,
        m,
        #[inline(always)]
        |left, right| (left * right) * (left * right),
    )
}

fn outer_by<T: Real>(
    left: &[T],
    right: &[T],
    k: usize,
    m: usize,
    term: impl Fn(T, T) -> T + Copy,
) -> Vec<T> {
    let mut product = vec![T::zero(); k * m];
    simd(
        #[inline(always)]
        || {
            for (left, right) in left.chunks_exact(k).zip(right.chunks_exact(m)) {
                for (sums, &left) in product.chunks_exact_mut(m).zip(left) {
                    for (sum, &right) in sums.iter_mut().zip(right) {
                        *sum += term(left, right);
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
    fn sums_products_over_the_rows() {
        let product = outer(
            &[1.0, 2.0, 3.0, 4.0],
            &[1.0, 0.0, -1.0, 2.0, 1.0, 0.5],
            2,
            3,
        );
        assert_eq!(product, [7.0, 3.0, 0.5, 10.0, 4.0, 0.0]);
        let squares = outer_squares(&[1.0, 3.0], &[2.0, -1.0], 1, 1);
        assert_eq!(squares, [13.0]);
    }
}
