//! Copies of a row, each with one entry moved by the step.

use std::ops::Range;

use crate::tensor::Real;

/// Takes `row` `[m]`; returns a copy of it for each of `columns`, [columns, m], in which that column is moved by `step`.
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
