//! The shape of a tensor in a user's file, and the matrix that it is read as.

use std::ops::Range;

use crate::tensor::Tensor;

/// The order of the axes of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum WeightLayout {
    /// [k, d]: classes by features, as PyTorch's nn.Linear has it.
    Kd,
    /// [d, k]: features by classes, as NumPy's `X @ W`, Keras and flax have it.
    Dk,
}

/// A tensor of any shape as a matrix: some adjacent axes count its columns, the others its rows.
///
/// | tensor | shape | axes of the columns |
/// |---|---|---|
/// | input of sequences | [batch, sequence, d] | 2 |
/// | images | [n, c, h, w] | 1 to 3 |
/// | logits as PyTorch's cross_entropy takes them | [n, k, h, w] | 1 |
/// | weight as NumPy's `X @ W` takes it | [d, k] | 0 |
/// | bias | [1, k] | none |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Vec<usize>,
    columns: Range<usize>,
}

impl Layout {
    /// Returns the layout of a tensor of this shape, with these axes as its columns.
    ///
    /// # Panics
    /// If the range of axes does not lie within the shape.
    pub fn new(shape: &[usize], columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= shape.len());
        Self {
            shape: shape.to_vec(),
            columns,
        }
    }

    /// Returns the shape of the tensor.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the sizes of the axes that count the rows.
    pub fn row_axes(&self) -> Vec<usize> {
        let Range { start, end } = self.columns;
        [&self.shape[..start], &self.shape[end..]].concat()
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.row_axes().iter().product()
    }

    /// Returns the number of columns; 1 if no axis counts them.
    pub fn columns(&self) -> usize {
        self.shape[self.columns.clone()].iter().product()
    }

    /// Returns the number of rows that lie together: consecutive elements of the tensor belong to
    /// consecutive rows if it is above 1.
    pub fn interleaved(&self) -> usize {
        self.shape[self.columns.end..].iter().product()
    }

    /// Returns true if the columns are the first axes, as in a transposed matrix.
    pub fn is_transposed(&self) -> bool {
        self.columns.start == 0 && !self.columns.is_empty() && self.columns.end < self.shape.len()
    }

    /// Returns the tensor as a matrix, or as a vector if no axis counts columns. It shares the
    /// tensor's bytes unless rows are interleaved.
    pub fn matrix(&self, tensor: &Tensor) -> Tensor {
        let shape = if self.columns.is_empty() {
            vec![self.rows()]
        } else {
            vec![self.rows(), self.columns()]
        };
        let interleaved = self.interleaved();
        if interleaved == 1 {
            return tensor.reshaped(&shape);
        }
        tensor
            .transposed(self.columns(), interleaved)
            .reshaped(&shape)
    }

    /// Returns a matrix in this layout: the inverse of [`Layout::matrix`], for any number of rows
    /// of a transposed matrix.
    pub fn restored(&self, matrix: &Tensor) -> Tensor {
        if !self.is_transposed() {
            return matrix.clone();
        }
        let (rows, columns) = (matrix.shape()[0], matrix.columns());
        matrix.transposed(rows, columns).reshaped(&[columns, rows])
    }

    /// Returns the name of a row of the matrix: its number, or its place in the tensor if several
    /// axes count the rows, such as `[1,2]`, or `[1,:,2]` if the columns lie between these axes.
    pub fn row_name(&self, row: usize) -> String {
        let axes = self.row_axes();
        if axes.len() < 2 {
            return row.to_string();
        }
        let place = unravelled(row, &axes).into_iter();
        let mut place: Vec<String> = place.map(|index| index.to_string()).collect();
        if self.interleaved() > 1 {
            let columns = vec![":".to_owned(); self.columns.len()];
            place.splice(self.columns.start..self.columns.start, columns);
        }
        format!("[{}]", place.join(","))
    }

    /// Returns the name of a column of the matrix: its number, or its place in a row if several
    /// axes count the columns.
    pub fn column_name(&self, column: usize) -> String {
        let axes = &self.shape[self.columns.clone()];
        if axes.len() < 2 {
            return column.to_string();
        }
        let place = unravelled(column, axes).into_iter();
        let place: Vec<String> = place.map(|index| index.to_string()).collect();
        format!("[{}]", place.join(","))
    }

    /// Returns the place of an entry of the matrix in the tensor.
    pub fn index(&self, row: usize, column: usize) -> Vec<usize> {
        let mut rows = unravelled(row, &self.row_axes());
        let columns = unravelled(column, &self.shape[self.columns.clone()]);
        rows.splice(self.columns.start..self.columns.start, columns);
        rows
    }
}

/// Returns the place of an element of a row-major array, from its number.
fn unravelled(mut element: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (place, &extent) in place.iter_mut().zip(shape).rev() {
        *place = element % extent;
        element /= extent;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_have_the_names_of_their_axes() {
        let names = |shape: &[usize], columns: Range<usize>| {
            let layout = Layout::new(shape, columns);
            [layout.row_name(5), layout.column_name(3)]
        };
        assert_eq!(names(&[6, 4], 1..2), ["5", "3"]);
        assert_eq!(names(&[2, 3, 4], 2..3), ["[1,2]", "3"]);
        assert_eq!(names(&[2, 4, 3], 1..2), ["[1,:,2]", "3"]);
        assert_eq!(names(&[6, 2, 2], 1..3), ["5", "[1,1]"]);
        assert_eq!(names(&[4, 6], 0..1), ["5", "3"]);
    }

    /// Reads every layout of a few shapes by its definition.
    #[test]
    fn an_entry_of_the_matrix_is_the_element_at_its_index() {
        for shape in [&[6][..], &[4, 3], &[2, 3, 4], &[2, 3, 2, 5], &[3, 1, 2, 1]] {
            let count = shape.iter().product::<usize>();
            let values: Vec<f64> = (0..count).map(|element| element as f64).collect();
            let tensor = Tensor::from_f64(shape, &values);
            for start in 0..=shape.len() {
                for end in start..=shape.len() {
                    let layout = Layout::new(shape, start..end);
                    assert_eq!(layout.rows() * layout.columns(), count);
                    let matrix = layout.matrix(&tensor).values::<f64>();
                    for (entry, &value) in matrix.iter().enumerate() {
                        let columns = layout.columns();
                        let index = layout.index(entry / columns, entry % columns);
                        let step = |element, (at, extent): (&usize, &usize)| element * extent + at;
                        let element = index.iter().zip(shape).fold(0, step);
                        assert_eq!(value, values[element], "{shape:?} {start}..{end} {entry}");
                    }
                    if layout.is_transposed() && shape.len() == 2 {
                        let restored = layout.restored(&layout.matrix(&tensor));
                        assert_eq!(
                            (restored.shape(), restored.values()),
                            (shape, values.clone())
                        );
                    }
                }
            }
        }
    }
}
