//! Notes on arrays that are not plain matrices or vectors.

use crate::{
    loss::{CrossEntropy, Reduction},
    problem::{Layout, Wrt},
    tensor::Tensor,
};

/// The note on a problem with one class.
pub(super) const ONE_CLASS: &str = "with one class the softmax is 1 and the correct gradient 0; \
     binary cross-entropy of one output z is another loss, that of two classes with logits 0 and \
     z: save a row of zeros before the row of weight and bias, and the targets 0 and 1";

/// Returns a note on an input that has more than two axes.
pub(super) fn rows_note(name: &str, layout: &Layout) -> Option<String> {
    let shape = layout.shape();
    let (rows, columns) = (layout.rows(), layout.columns());
    let numbers = row_numbers(layout, &[]);
    (shape.len() > 2)
        .then(|| format!("{name} {shape:?} taken as {rows} rows of {columns}{numbers}"))
}

/// Returns a note on logits, or their gradient, with more than two axes.
pub(super) fn classes_note(name: &str, layout: &Layout) -> Option<String> {
    let shape = layout.shape();
    if shape.len() <= 2 {
        return None;
    }
    let (rows, k) = (layout.rows(), layout.columns());
    let (axis, numbers) = if layout.interleaved() > 1 {
        (
            "on axis 1 as for PyTorch's cross_entropy",
            row_numbers(layout, &[":"]),
        )
    } else {
        ("on the last axis", row_numbers(layout, &[]))
    };
    Some(format!(
        "{name} {shape:?} taken as {rows} rows of {k} classes, {axis}{numbers}"
    ))
}

/// Returns the place of row r by the axes that count the rows, if there are several:
/// `; row r is at [r / 16, r % 16]`. `second` is inserted behind the first axis.
fn row_numbers(layout: &Layout, second: &[&str]) -> String {
    let axes = layout.row_axes();
    if axes.len() < 2 {
        return String::new();
    }
    let place = |axis: usize| {
        let below: usize = axes[axis + 1..].iter().product();
        match (axis, below) {
            (0, below) => format!("r / {below}"),
            (_, 1) => format!("r % {}", axes[axis]),
            (_, below) => format!("r / {below} % {}", axes[axis]),
        }
    };
    let mut places: Vec<String> = (0..axes.len()).map(place).collect();
    places.splice(1..1, second.iter().map(ToString::to_string));
    format!("; row r is at [{}]", places.join(", "))
}

/// Returns a note on a weight [d, k].
pub(super) fn weight_note(layout: &Layout, gradients: &[Option<Tensor>; 4]) -> Option<String> {
    let likewise = if gradients[Wrt::Weight as usize].is_some() {
        ", and grad_weight likewise"
    } else {
        ""
    };
    layout.is_transposed().then(|| {
        format!(
            "weight {:?} taken as [d, k]{likewise}; PyTorch's nn.Linear has [k, d]",
            layout.shape()
        )
    })
}

/// Returns a note on a vector with another axis.
pub(super) fn vector_note(name: &str, tensor: &Tensor, k: usize) -> String {
    format!("{name} {:?} taken as [{k}]", tensor.shape())
}

/// Returns a note on an array with more axes than the samples have.
pub(super) fn flat_note(name: &str, shape: &[usize], of: &str) -> String {
    format!("{name} {shape:?} taken in order, one row after the other as in {of}")
}

/// Returns a note on the loss of samples that have weights.
pub(super) fn sample_weight_note(loss: &CrossEntropy) -> String {
    let divided = match (loss.normalizer, loss.reduction) {
        (Some(normalizer), _) => format!(", divided by {normalizer}"),
        (None, Reduction::Sum) => String::new(),
        (None, Reduction::Mean) => ", divided as for the mean without sample_weight".to_owned(),
    };
    format!("the loss is the sum of sample_weight[j] times the loss of sample j{divided}")
}
