//! Perturbed copies of a row x `[m]`: copy i is x + step·e(i), with e(i) the i-th unit vector.

use std::ops::Range;

use crate::tensor::Real;

/// Returns one copy of `row` `[m]` for each of `columns`, [columns, m], with `step` added to that
/// column.
pub fn perturb<T: Real>(row: &[T], step: T, columns: Range<usize>) -> Vec<T> {
    let mut copies = row.repeat(columns.len());
    for (copy, column) in copies.chunks_exact_mut(row.len()).zip(columns) {
        copy[column] += step;
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_copy_moves_its_own_column() {
        assert_eq!(
            perturb(&[1.0, 2.0, 3.0], 0.5, 1..3),
            [1.0, 2.5, 3.0, 1.0, 2.0, 3.5]
        );
    }
}
