//! The choice between the forms that the shape of one array leaves open, by the shapes of the
//! others.

use crate::{
    error::{Error, Result},
    io::arrays::Arrays,
    problem::{Layout, WeightLayout, Wrt},
    tensor::Tensor,
};

/// Largest distance of a sum of probabilities from 1 that rounding explains, in f16 too. Chosen.
pub(in crate::io) const SUM_ERROR: f64 = 0.01;

/// One reading of the arrays: n samples and k classes.
struct Reading {
    n: usize,
    k: usize,
}

impl Reading {
    /// Returns the number of arrays whose size contradicts the reading.
    fn contradictions(&self, arrays: &Arrays) -> usize {
        let &Self { n, k } = self;
        let contradicts = |tensor: &Option<Tensor>, sizes: &[usize]| {
            let is_of_size = |tensor: &Tensor| sizes.contains(&elements(tensor.shape()));
            tensor.as_ref().is_some_and(|tensor| !is_of_size(tensor))
        };
        let gradient = |wrt: Wrt| &arrays.gradients[wrt as usize];
        [
            contradicts(&Some(arrays.target.clone()), &[n, n * k]),
            contradicts(&arrays.sample_weight, &[n]),
            contradicts(&arrays.class_weight, &[k]),
            contradicts(&arrays.bias, &[k]),
            contradicts(gradient(Wrt::Bias), &[k]),
            contradicts(gradient(Wrt::Logits), &[n * k]),
        ]
        .into_iter()
        .filter(|contradicts| *contradicts)
        .count()
    }
}

/// Returns the layouts of the input and of the weight. The features are the last axes of the input,
/// as many of them as one axis of the weight counts.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`] if no reading fits.
pub(super) fn weight_layout(
    arrays: &Arrays,
    weight: &Tensor,
    asked: Option<WeightLayout>,
) -> Result<(Layout, Layout)> {
    let input = &arrays.samples;
    input.require_float("input")?;
    weight.require_float("weight")?;
    let shape = |name, tensor: &Tensor, form: &str| Error::Shape {
        name,
        expected: format!("it must {form}"),
        found: tensor.shape().to_vec(),
    };
    if input.shape().len() < 2 {
        let form = "have two dimensions or more, [n, d]: samples by features";
        return Err(shape("input", input, form));
    }
    let &[rows, columns] = weight.shape() else {
        let form = "have two dimensions, [k, d]: classes by features";
        return Err(shape("weight", weight, form));
    };
    let reading = |layout: WeightLayout| {
        let (axis, k, d) = match layout {
            WeightLayout::Kd => (1, rows, columns),
            WeightLayout::Dk => (0, columns, rows),
        };
        let axes = input.shape().len();
        let first = (1..axes)
            .rev()
            .find(|&first| elements(&input.shape()[first..]) == d)?;
        let input = Layout::new(input.shape(), first..axes);
        let reading = Reading { n: input.rows(), k };
        let weight = Layout::new(weight.shape(), axis..axis + 1);
        Some((reading.contradictions(arrays), input, weight))
    };
    let layouts = [WeightLayout::Kd, WeightLayout::Dk].into_iter();
    let fitting = layouts.filter(|layout| asked.is_none_or(|asked| asked == *layout));
    let best = fitting
        .filter_map(reading)
        .min_by_key(|(contradictions, ..)| *contradictions);
    best.map(|(_, input, weight)| (input, weight))
        .ok_or_else(|| {
            let d = input.shape()[input.shape().len() - 1];
            let form = match asked {
                Some(WeightLayout::Kd) => format!("be [k, {d}]"),
                Some(WeightLayout::Dk) => format!("be [{d}, k]"),
                None => format!("be [k, {d}], or [{d}, k] as for NumPy's X @ W"),
            };
            let form = format!("{form}, as input has shape {:?}", input.shape());
            shape("weight", weight, &form)
        })
}

/// Returns the layout of given logits. Their classes are on axis 1, where PyTorch's cross_entropy
/// has them, unless the other arrays fit the last axis better.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`] if they have no axis of classes.
pub(super) fn class_axis(arrays: &Arrays) -> Result<Layout> {
    let logits = &arrays.samples;
    logits.require_float("logits")?;
    let (shape, axes) = (logits.shape(), logits.shape().len());
    let reading = |axis: usize| {
        let layout = Layout::new(shape, axis..axis + 1);
        let (n, k) = (layout.rows(), layout.columns());
        let mut contradictions = Reading { n, k }.contradictions(arrays);
        let target = &arrays.target;
        if target.shape().len() + 1 == axes && target.shape() != layout.row_axes() {
            contradictions += 1;
        }
        if target.shape() == shape && !is_first_row_of_probabilities(target, &layout) {
            contradictions += 1;
        }
        (contradictions, layout)
    };
    let axis_1 = (axes > 2).then_some(1);
    let candidates = axis_1
        .into_iter()
        .chain(axes.checked_sub(1).filter(|last| *last > 0));
    let best = candidates
        .map(reading)
        .min_by_key(|(contradictions, _)| *contradictions);
    best.map(|(_, layout)| layout).ok_or_else(|| Error::Shape {
        name: "logits",
        expected: "it must have two dimensions or more, [n, k]: samples by classes".to_owned(),
        found: shape.to_vec(),
    })
}

/// Returns true if the first row of a target in this layout, with one class axis, sums to 1.
fn is_first_row_of_probabilities(target: &Tensor, layout: &Layout) -> bool {
    let first = target.rows::<f64>(0..1);
    let row = first.iter().step_by(layout.interleaved());
    let sum: f64 = row.take(layout.columns()).sum();
    (sum - 1.0).abs() <= SUM_ERROR
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}
