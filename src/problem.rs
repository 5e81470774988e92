//! What is differentiated: a linear layer, cross-entropy and the tensors they meet, validated once.
//! Every later stage takes it as it is.

use std::{ops::Range, sync::OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    loss::{CrossEntropy, Target, TargetRows},
    tensor::{Real, Tensor},
};

/// What the gradient is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Wrt {
    /// The layer's input, [n, d].
    Input,
    /// The layer's output, [n, k].
    Logits,
    /// The layer's weight, [k, d].
    Weight,
    /// The layer's bias, `[k]`.
    Bias,
}

impl Wrt {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Input, Self::Logits, Self::Weight, Self::Bias];

    /// Whether its gradient is a sum over the samples, and not a row for each.
    pub fn is_parameter(self) -> bool {
        matches!(self, Self::Weight | Self::Bias)
    }

    /// How an entry of its gradient is written: `grad[3,5]`, `grad_bias[3]`.
    pub fn place(self, row: usize, column: usize) -> String {
        match self {
            Self::Bias => format!("{}[{row}]", self.grad_name()),
            _ => format!("{}[{row},{column}]", self.grad_name()),
        }
    }

    /// Its name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Logits => "logits",
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }

    /// The name of its gradient in a file.
    pub fn grad_name(self) -> &'static str {
        match self {
            Self::Input => "grad",
            Self::Logits => "grad_logits",
            Self::Weight => "grad_weight",
            Self::Bias => "grad_bias",
        }
    }
}

/// z = input · weightᵀ + bias, and the cross-entropy of z against the targets.
#[derive(Clone, Debug)]
pub struct Problem {
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    /// Of all samples.
    target: Target,
    /// How many of them come before the first row of the input.
    first_row: usize,
    /// How many samples the loss is taken over: where rows were selected, more than the input has.
    samples: usize,
    loss: CrossEntropy,
    normalizer: f64,
    /// Of the input's and of the weight's columns; found when they are first asked for, by a pass over all.
    ranges: [OnceLock<(Vec<f64>, Vec<f64>)>; 2],
}

impl Problem {
    /// Takes `input` [n, d], `weight` [k, d], `bias` `[k]` and `target`: `[n]` classes or [n, k] probabilities.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Dtype`], [`Error::NotFinite`], [`Error::Target`] or [`Error::Setting`], for the
    /// first thing found wrong.
    pub fn new(
        input: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        let problem = Self::unread(input, weight, bias, target, loss)?;
        problem.require_finite(0..problem.n())?;
        Ok(problem)
    }

    /// The same, but the input, which may be large, is not read: [`Problem::require_finite`] remains to be asked.
    pub(crate) fn unread(
        input: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        let (n, d) = matrix("input", &input, "[n, d]: samples by features")?;
        let (k, weight_d) = matrix("weight", &weight, "[k, d]: classes by features")?;
        if weight_d != d {
            let expected = format!("it must be [{k}, {d}], as input has shape [{n}, {d}]");
            return Err(Error::Shape {
                name: "weight",
                expected,
                found: weight.shape().to_vec(),
            });
        }
        if let Some(bias) = &bias {
            bias.require_float("bias")?;
            if bias.shape() != [k] {
                let expected = format!("it must be [{k}], as weight has shape [{k}, {d}]");
                return Err(Error::Shape {
                    name: "bias",
                    expected,
                    found: bias.shape().to_vec(),
                });
            }
        }
        loss.validate(k)?;
        let target = read_target(target, n, k, &loss)?;
        weight.require_finite("weight")?;
        if let Some(bias) = &bias {
            bias.require_finite("bias")?;
        }
        let normalizer = loss.normalizer(&target, n);
        if !(normalizer > 0.0) {
            let expected =
                "no sample counts: all are ignored, or their class weights are 0".to_owned();
            return Err(Error::Setting {
                name: "the mean",
                found: "over nothing".to_owned(),
                expected,
            });
        }
        Ok(Self {
            input,
            weight,
            bias,
            target,
            first_row: 0,
            samples: n,
            loss,
            normalizer,
            ranges: Default::default(),
        })
    }

    /// # Errors
    /// [`Error::NotFinite`] if the input is not finite in these rows.
    pub(crate) fn require_finite(&self, rows: Range<usize>) -> Result<()> {
        self.input
            .require_finite_rows("input", rows, self.first_row)
    }

    /// The same with another loss; none if that has nothing to average over.
    pub(crate) fn with_loss(&self, loss: CrossEntropy) -> Option<Self> {
        let normalizer = loss.normalizer(&self.target, self.samples);
        (normalizer > 0.0).then(|| Self {
            loss,
            normalizer,
            ..self.clone()
        })
    }

    /// A range of its rows, of the same loss over all samples.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            input: self.input.slice(rows.clone()),
            first_row: self.first_row + rows.start,
            ranges: [OnceLock::new(), self.ranges[1].clone()],
            ..self.clone()
        }
    }

    /// A copy of some of its rows, of the same loss over all samples; what counts those ([`Problem::with_loss`],
    /// [`Problem::valid_samples`]) must not be asked of it.
    pub(crate) fn gather(&self, rows: &[usize]) -> Self {
        let target = match &self.target {
            Target::Classes(classes) => Target::Classes(
                rows.iter()
                    .map(|row| classes[self.first_row + row])
                    .collect(),
            ),
            Target::Probabilities(probabilities) => {
                let rows: Vec<usize> = rows.iter().map(|row| self.first_row + row).collect();
                Target::Probabilities(probabilities.gather(&rows))
            }
        };
        Self {
            input: self.input.gather(rows),
            target,
            first_row: 0,
            ranges: [OnceLock::new(), self.ranges[1].clone()],
            ..self.clone()
        }
    }

    /// A problem of some of its rows, of a loss over those alone.
    ///
    /// # Errors
    /// [`Error::Setting`] if none of them counts.
    pub(crate) fn of_rows(&self, rows: &[usize]) -> Result<Self> {
        let part = self.gather(rows);
        let target = match &part.target {
            Target::Classes(classes) => Tensor::from_classes(classes),
            Target::Probabilities(probabilities) => probabilities.clone(),
        };
        let (input, weight) = (part.input.clone(), part.weight.clone());
        Self::new(input, weight, part.bias.clone(), &target, part.loss.clone())
    }

    /// The bias as it was given.
    pub(crate) fn bias_tensor(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The number, in the whole, of a row of the gradient with respect to `wrt`.
    pub fn row_number(&self, wrt: Wrt, row: usize) -> usize {
        if wrt.is_parameter() {
            row
        } else {
            self.first_row + row
        }
    }

    /// How many samples the loss is taken over, and how many of them are not ignored.
    pub fn valid_samples(&self) -> (usize, usize) {
        let ignored = match &self.target {
            Target::Classes(classes) => classes
                .iter()
                .filter(|&&class| class == self.loss.ignore_index)
                .count(),
            Target::Probabilities(_) => 0,
        };
        (self.samples, self.samples - ignored)
    }

    /// Samples.
    pub fn n(&self) -> usize {
        self.input.shape()[0]
    }

    /// Features.
    pub fn d(&self) -> usize {
        self.input.shape()[1]
    }

    /// Classes.
    pub fn k(&self) -> usize {
        self.weight.shape()[0]
    }

    /// The input, [n, d].
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// The weight, [k, d].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Whether the layer has a bias.
    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// The bias `[k]`, zeros where there is none.
    pub fn bias<T: Real>(&self) -> Vec<T> {
        self.bias
            .as_ref()
            .map_or_else(|| vec![T::zero(); self.k()], Tensor::values)
    }

    /// The targets of a range of samples, as the kernels take them.
    pub fn target_rows<T: Real>(&self, rows: Range<usize>) -> TargetRows<T> {
        let rows = self.first_row + rows.start..self.first_row + rows.end;
        self.loss.target_rows(&self.target, rows, self.k())
    }

    /// What the samples should be.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The class of a sample; none where it is ignored, or its target is probabilities.
    pub fn label(&self, row: usize) -> Option<usize> {
        match &self.target {
            Target::Classes(classes) => {
                let class = classes[self.first_row + row];
                (class != self.loss.ignore_index).then_some(class as usize)
            }
            Target::Probabilities(_) => None,
        }
    }

    /// Whether a sample's target is [`CrossEntropy::ignore_index`].
    pub fn is_ignored(&self, row: usize) -> bool {
        matches!(&self.target, Target::Classes(classes) if classes[self.first_row + row] == self.loss.ignore_index)
    }

    /// Whether each sample's target is a class alone: then [`TargetRows::linear`] is none.
    pub fn is_one_hot(&self) -> bool {
        matches!(self.target, Target::Classes(_)) && self.loss.label_smoothing == 0.0
    }

    /// The largest R that a sample can have.
    pub fn largest_total(&self) -> f64 {
        let largest = |weights: &[f64]| weights.iter().fold(0.0f64, |largest, w| largest.max(*w));
        let weight = self.loss.class_weight.as_deref().map_or(1.0, largest);
        match &self.target {
            Target::Classes(_) => weight,
            Target::Probabilities(tensor) => {
                let sum = |row| tensor.rows::<f64>(row..row + 1).iter().sum::<f64>();
                weight * (0..tensor.shape()[0]).map(sum).fold(1.0, f64::max)
            }
        }
    }

    /// The loss's options.
    pub fn loss(&self) -> &CrossEntropy {
        &self.loss
    }

    /// Z, by which the sum of the samples' losses is divided.
    pub fn normalizer(&self) -> f64 {
        self.normalizer
    }

    /// Rows of the gradient with respect to `wrt`: samples, or classes.
    pub fn rows(&self, wrt: Wrt) -> usize {
        if wrt.is_parameter() {
            self.k()
        } else {
            self.n()
        }
    }

    /// Columns of the gradient with respect to `wrt`; 1 for the bias.
    pub fn columns(&self, wrt: Wrt) -> usize {
        match wrt {
            Wrt::Input | Wrt::Weight => self.d(),
            Wrt::Logits => self.k(),
            Wrt::Bias => 1,
        }
    }

    /// The shape of the gradient with respect to `wrt`.
    pub fn gradient_shape(&self, wrt: Wrt) -> Vec<usize> {
        match wrt {
            Wrt::Bias => vec![self.k()],
            _ => vec![self.rows(wrt), self.columns(wrt)],
        }
    }

    /// Terms that the longest sum behind an entry of the gradient has: classes, or the samples of a parameter.
    pub fn terms(&self, wrt: Wrt) -> usize {
        if wrt.is_parameter() {
            self.k().max(self.n())
        } else {
            self.k()
        }
    }

    /// How the logits move with column i of `wrt`: the largest |`dz[c]`/`dx[i]`| of all, and for each i the range
    /// of `dz[c]`/`dx[i]` over the classes c (over the samples, for a parameter, which moves one class only).
    pub fn slopes(&self, wrt: Wrt) -> (f64, Vec<f64>) {
        let largest = |values: &[f64]| {
            values
                .iter()
                .fold(0.0f64, |largest, v| largest.max(v.abs()))
        };
        match wrt {
            Wrt::Logits => (1.0, vec![1.0; self.k()]),
            Wrt::Bias => (1.0, vec![1.0]),
            Wrt::Input => {
                let (low, high) = self.ranges[1].get_or_init(|| column_range(&self.weight));
                (
                    largest(low).max(largest(high)),
                    low.iter().zip(high).map(|(low, high)| high - low).collect(),
                )
            }
            Wrt::Weight => {
                let (low, high) = self.ranges[0].get_or_init(|| column_range(&self.input));
                let ranges: Vec<f64> = low
                    .iter()
                    .zip(high)
                    .map(|(low, high)| low.abs().max(high.abs()))
                    .collect();
                (largest(&ranges), ranges)
            }
        }
    }
}

/// The smallest and the largest value of each column.
fn column_range(tensor: &Tensor) -> (Vec<f64>, Vec<f64>) {
    let columns = tensor.columns();
    let mut low = vec![f64::INFINITY; columns];
    let mut high = vec![f64::NEG_INFINITY; columns];
    for row in 0..tensor.shape()[0] {
        for ((low, high), value) in low
            .iter_mut()
            .zip(&mut high)
            .zip(tensor.rows::<f64>(row..row + 1))
        {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    (low, high)
}

fn matrix(name: &'static str, tensor: &Tensor, form: &str) -> Result<(usize, usize)> {
    tensor.require_float(name)?;
    match tensor.shape() {
        &[rows, columns] => Ok((rows, columns)),
        found => {
            let expected = format!("it must have two dimensions, {form}");
            Err(Error::Shape {
                name,
                expected,
                found: found.to_vec(),
            })
        }
    }
}

fn read_target(target: &Tensor, n: usize, k: usize, loss: &CrossEntropy) -> Result<Target> {
    if target.shape() == [n, k] && target.dtype().is_float() {
        target.require_finite("target")?;
        if loss.ignore_index >= 0 {
            let found = loss.ignore_index.to_string();
            let expected =
                "it can be used with classes only, and target holds probabilities".to_owned();
            return Err(Error::Setting {
                name: "ignore_index",
                found,
                expected,
            });
        }
        let negative = |row| {
            let probabilities = target.rows::<f64>(row..row + 1);
            let column = probabilities.iter().position(|&p| p < 0.0)?;
            Some((row, column))
        };
        return match (0..n).find_map(negative) {
            None => Ok(Target::Probabilities(target.clone())),
            Some((row, column)) => {
                let found = format!("negative at [{row},{column}]");
                let expected = "class probabilities are not".to_owned();
                Err(Error::Setting {
                    name: "target",
                    found,
                    expected,
                })
            }
        };
    }
    if target.shape() != [n] {
        let expected = format!(
            "it must be [{n}], a class a row of input, or [{n}, {k}] floats, class probabilities"
        );
        return Err(Error::Shape {
            name: "target",
            expected,
            found: target.shape().to_vec(),
        });
    }
    if target.dtype().is_float() {
        let found = target.dtype().to_string();
        return Err(Error::Dtype {
            name: "target".to_owned(),
            expected: "integer class indices",
            found,
        });
    }
    let classes = target.integers(0..n);
    let known = |class: i64| class == loss.ignore_index || (0..k as i64).contains(&class);
    match classes.iter().position(|&class| !known(class)) {
        None => Ok(Target::Classes(classes)),
        Some(row) => Err(Error::Target {
            row,
            found: classes[row],
            classes: k,
        }),
    }
}
