//! Transposition of arrays of elements of any size.

/// Side of the square blocks that are transposed at a time, in elements. Chosen: a block of f64 is
/// 8 KiB, and reads and writes both stay in the first-level cache.
const BLOCK: usize = 32;

/// Transposes each of the consecutive row-major matrices [rows, columns] of elements of `size`
/// bytes.
pub(crate) fn transposed(elements: &[u8], size: usize, rows: usize, columns: usize) -> Vec<u8> {
    match size {
        1 => of_size::<1>(elements, rows, columns),
        2 => of_size::<2>(elements, rows, columns),
        4 => of_size::<4>(elements, rows, columns),
        8 => of_size::<8>(elements, rows, columns),
        _ => unreachable!("no type of another size exists"),
    }
}

fn of_size<const SIZE: usize>(elements: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let (elements, _) = elements.as_chunks::<SIZE>();
    let mut result = vec![[0; SIZE]; elements.len()];
    let matrices = elements.chunks_exact((rows * columns).max(1));
    let results = result.chunks_exact_mut((rows * columns).max(1));
    for (matrix, result) in matrices.zip(results) {
        for top in (0..rows).step_by(BLOCK) {
            for left in (0..columns).step_by(BLOCK) {
                for row in top..rows.min(top + BLOCK) {
                    for column in left..columns.min(left + BLOCK) {
                        result[column * rows + row] = matrix[row * columns + column];
                    }
                }
            }
        }
    }
    result.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_every_matrix_moves_to_its_place() {
        for (matrices, rows, columns) in [(1, 3, 2), (3, 40, 33), (2, 1, 70), (5, 64, 1)] {
            let count = matrices * rows * columns;
            let values: Vec<u16> = (0..count as u16).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let moved = transposed(&bytes, 2, rows, columns);
            let (moved, _) = moved.as_chunks::<2>();
            for (element, value) in values.iter().enumerate() {
                let (matrix, place) = (element / (rows * columns), element % (rows * columns));
                let (row, column) = (place / columns, place % columns);
                let to = matrix * rows * columns + column * rows + row;
                assert_eq!(u16::from_le_bytes(moved[to]), *value);
            }
        }
    }
}
