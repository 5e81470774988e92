//! The validation of the tensors that make up a problem.

use crate::{
    error::{Error, Result},
    loss::{CrossEntropy, Target},
    tensor::Tensor,
};

/// The sizes of the targets.
pub(super) struct Sizes {
    /// The number of samples.
    pub(super) n: usize,
    /// The number of classes.
    pub(super) k: usize,
}

/// Checks the shapes and types of input [n, d], weight [k, d] and bias `[k]`.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`].
pub(super) fn sizes(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Sizes> {
    let (n, d) = matrix("input", input, "[n, d]: samples by features")?;
    let (k, weight_d) = matrix("weight", weight, "[k, d]: classes by features")?;
    if weight_d != d {
        return Err(Error::Shape {
            name: "weight",
            expected: format!("it must be [{k}, {d}], as input has shape [{n}, {d}]"),
            found: weight.shape().to_vec(),
        });
    }
    if let Some(bias) = bias {
        bias.require_float("bias")?;
        if bias.shape() != [k] {
            return Err(Error::Shape {
                name: "bias",
                expected: format!("it must be [{k}], one element per class"),
                found: bias.shape().to_vec(),
            });
        }
    }
    Ok(Sizes { n, k })
}

/// Checks the shape and type of logits [n, k].
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`].
pub(super) fn sizes_of_logits(logits: &Tensor) -> Result<Sizes> {
    let (n, k) = matrix("logits", logits, "[n, k]: samples by classes")?;
    Ok(Sizes { n, k })
}

/// Reads the weights of n samples' losses.
///
/// # Errors
/// [`Error::Shape`], [`Error::Dtype`] or [`Error::NotFinite`].
pub(super) fn sample_weight(weight: &Tensor, n: usize) -> Result<Vec<f64>> {
    const NAME: &str = "sample_weight";
    weight.require_float(NAME)?;
    if weight.shape() != [n] {
        return Err(Error::Shape {
            name: NAME,
            expected: format!("it must be [{n}], one weight per sample"),
            found: weight.shape().to_vec(),
        });
    }
    weight.require_finite(NAME)?;
    Ok(weight.values())
}

fn matrix(name: &'static str, tensor: &Tensor, form: &str) -> Result<(usize, usize)> {
    tensor.require_float(name)?;
    match tensor.shape() {
        &[rows, columns] => Ok((rows, columns)),
        found => Err(Error::Shape {
            name,
            expected: format!("it must have two dimensions, {form}"),
            found: found.to_vec(),
        }),
    }
}

/// Reads the targets of n samples of a loss of k classes.
///
/// # Errors
/// Those of [`target`].
pub(crate) fn read_target(
    tensor: &Tensor,
    n: usize,
    k: usize,
    loss: &CrossEntropy,
) -> Result<Target> {
    target(tensor, &Sizes { n, k }, loss)
}

/// Reads the targets of n samples: classes `[n]` or [n, 1], one-hot integers [n, k], or
/// probabilities [n, k].
///
/// # Errors
/// [`Error::Shape`], [`Error::Dtype`], [`Error::NotFinite`], [`Error::Target`] or
/// [`Error::Setting`].
pub(super) fn target(target: &Tensor, sizes: &Sizes, loss: &CrossEntropy) -> Result<Target> {
    let &Sizes { n, k } = sizes;
    let is_float = target.dtype().is_float();
    let classes = match target.shape() {
        shape if shape == [n, k] && is_float => return probabilities(target, n, loss),
        shape if shape == [n, k] && k > 1 => return one_hot(target, sizes).map(Target::Classes),
        shape if shape != [n] && shape != [n, 1] => {
            return Err(Error::Shape {
                name: "target",
                expected: format!(
                    "it must be [{n}], one class per row of input, \
                     or [{n}, {k}], one-hot classes or class probabilities"
                ),
                found: shape.to_vec(),
            });
        }
        _ if is_float => whole_numbers(target, k)?,
        _ => target.integers(0..n),
    };
    let is_counted = |class: &i64| *class != loss.ignore_index;
    let is_known = |class: &i64| !is_counted(class) || (0..k as i64).contains(class);
    match classes.iter().position(|class| !is_known(class)) {
        None => Ok(Target::Classes(classes)),
        Some(row) => {
            let mut counted = classes.iter().filter(|class| is_counted(class));
            Err(Error::Target {
                index: vec![row],
                found: classes[row],
                classes: k,
                starts_at_one: counted.all(|class| (1..=k as i64).contains(class)),
            })
        }
    }
}

/// Returns the classes of one-hot integers [n, k]. Reads a row at a time: all of them as i64 may
/// take eight times the memory of the tensor.
fn one_hot(target: &Tensor, sizes: &Sizes) -> Result<Vec<i64>> {
    let &Sizes { n, k } = sizes;
    let class_of = |row| {
        let values = target.integers(row..row + 1);
        let mut marked = (0..k).filter(|&class| values[class] != 0);
        match (marked.next(), marked.next()) {
            (Some(class), None) if values[class] == 1 => Ok(class as i64),
            _ => Err(Error::Setting {
                name: "target",
                found: format!("not one-hot in row {row}"),
                expected: format!(
                    "integers of shape [{n}, {k}] must hold a single 1 in each row, and zeros"
                ),
            }),
        }
    };
    (0..n).map(class_of).collect()
}

/// Returns class indices that are stored as floating-point numbers, as pandas and NumPy do.
fn whole_numbers(target: &Tensor, k: usize) -> Result<Vec<i64>> {
    // Above this, a type holds only every second whole number, and labels may have been rounded.
    let exact = 1.0 / target.dtype().unit_roundoff();
    if (k - 1) as f64 > exact {
        return Err(Error::Dtype {
            name: "target".to_owned(),
            expected: "integer class indices",
            found: target.dtype().to_string(),
        });
    }
    let class_of = |(row, value): (usize, f64)| {
        if value.fract() == 0.0 && value.abs() <= exact {
            return Ok(value as i64);
        }
        Err(Error::Setting {
            name: "target",
            found: format!("{value} in row {row}"),
            expected: "class indices must be whole numbers".to_owned(),
        })
    };
    let values = target.values::<f64>().into_iter();
    values.enumerate().map(class_of).collect()
}

fn probabilities(target: &Tensor, n: usize, loss: &CrossEntropy) -> Result<Target> {
    target.require_finite("target")?;
    if loss.ignore_index >= 0 {
        return Err(Error::Setting {
            name: "ignore_index",
            found: loss.ignore_index.to_string(),
            expected: "it needs class targets, and target holds probabilities".to_owned(),
        });
    }
    let negative = |row| {
        let probabilities = target.rows::<f64>(row..row + 1);
        let column = probabilities.iter().position(|&p| p < 0.0)?;
        Some((row, column))
    };
    match (0..n).find_map(negative) {
        None => Ok(Target::Probabilities(target.clone())),
        Some((row, column)) => Err(Error::Setting {
            name: "target",
            found: format!("negative at [{row},{column}]"),
            expected: "class probabilities must not be negative".to_owned(),
        }),
    }
}

/// Returns the normalizer Z.
///
/// # Errors
/// [`Error::Setting`] if no sample has a positive weight.
pub(super) fn normalizer(target: &Target, n: usize, loss: &CrossEntropy) -> Result<f64> {
    let normalizer = loss.normalizer(target, n);
    if normalizer > 0.0 {
        return Ok(normalizer);
    }
    Err(Error::Setting {
        name: "the number of samples that count",
        found: "0".to_owned(),
        expected: "the mean needs at least one; all samples are ignored, \
                   or their class weights are 0"
            .to_owned(),
    })
}
