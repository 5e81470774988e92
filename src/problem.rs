//! The function that is differentiated: a linear layer, cross-entropy and their tensors, validated
//! once. Later stages do not validate again.

use std::{ops::Range, sync::Arc};

use crate::{
    error::Result,
    loss::{CrossEntropy, Target, TargetRows},
    tensor::{Real, Tensor},
};

mod read;
mod slopes;
mod wrt;

pub use wrt::Wrt;

use slopes::ColumnRange;

/// z = input · weightᵀ + bias, and the cross-entropy of z against the targets.
///
/// A problem may hold some rows of a larger one. Its loss is still taken over all samples.
#[derive(Clone, Debug)]
pub struct Problem {
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    /// The targets of all samples that the loss is taken over.
    all_targets: Arc<Target>,
    /// The targets. Those from `first_row` on belong to the rows of the input.
    target: Arc<Target>,
    first_row: usize,
    loss: CrossEntropy,
    normalizer: f64,
    /// The largest share of a sample's target that is spread evenly over all classes.
    uniform_share: f64,
    input_range: ColumnRange,
    weight_range: ColumnRange,
}

impl Problem {
    /// Creates a problem from `input` [n, d], `weight` [k, d], `bias` `[k]` and `target`: `[n]`
    /// classes or [n, k] probabilities.
    ///
    /// # Errors
    /// [`Error`](crate::error::Error) for the first fault in a shape, type, value, target or
    /// option.
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

    /// Creates a problem without reading its input, which may be large. The caller must call
    /// [`Problem::require_finite`] for rows of the input before it uses them.
    ///
    /// # Errors
    /// Those of [`Problem::new`].
    pub(crate) fn unread(
        input: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        let sizes = read::sizes(&input, &weight, bias.as_ref())?;
        loss.validate(sizes.k)?;
        let target = Arc::new(read::target(target, &sizes, &loss)?);
        weight.require_finite("weight")?;
        if let Some(bias) = &bias {
            bias.require_finite("bias")?;
        }
        let normalizer = read::normalizer(&target, sizes.n, &loss)?;
        let uniform_share = loss.uniform_share(&target);
        Ok(Self {
            input,
            weight,
            bias,
            all_targets: Arc::clone(&target),
            target,
            first_row: 0,
            loss,
            normalizer,
            uniform_share,
            input_range: ColumnRange::default(),
            weight_range: ColumnRange::default(),
        })
    }

    /// Requires the input to be finite in a range of rows.
    ///
    /// # Errors
    /// [`NotFinite`](crate::error::Error::NotFinite) with the first entry that is not.
    pub(crate) fn require_finite(&self, rows: Range<usize>) -> Result<()> {
        self.input
            .require_finite_rows("input", rows, self.first_row)
    }

    /// Returns this problem with another loss, or `None` if that loss has no sample to average
    /// over.
    pub(crate) fn with_loss(&self, loss: CrossEntropy) -> Option<Self> {
        let normalizer = loss.normalizer(&self.all_targets, self.samples());
        (normalizer > 0.0).then(|| Self {
            uniform_share: loss.uniform_share(&self.all_targets),
            loss,
            normalizer,
            ..self.clone()
        })
    }

    /// Returns a range of the rows. The loss is still taken over all samples.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            input: self.input.slice(rows.clone()),
            first_row: self.first_row + rows.start,
            input_range: ColumnRange::default(),
            ..self.clone()
        }
    }

    /// Returns a copy of some rows. The loss is still taken over all samples.
    pub(crate) fn gather(&self, rows: &[usize]) -> Self {
        let in_target: Vec<usize> = rows.iter().map(|row| self.first_row + row).collect();
        let target = match &*self.target {
            Target::Classes(classes) => {
                Target::Classes(in_target.iter().map(|&row| classes[row]).collect())
            }
            Target::Probabilities(probabilities) => {
                Target::Probabilities(probabilities.gather(&in_target))
            }
        };
        Self {
            input: self.input.gather(rows),
            target: Arc::new(target),
            first_row: 0,
            input_range: ColumnRange::default(),
            ..self.clone()
        }
    }

    /// Returns a problem of some rows, with the loss taken over these alone.
    ///
    /// # Errors
    /// [`Setting`](crate::error::Error::Setting) if all of them are ignored.
    pub(crate) fn of_rows(&self, rows: &[usize]) -> Result<Self> {
        let part = self.gather(rows);
        let target = match &*part.target {
            Target::Classes(classes) => Tensor::from_classes(classes),
            Target::Probabilities(probabilities) => probabilities.clone(),
        };
        Self::new(part.input, part.weight, part.bias, &target, part.loss)
    }

    /// Converts a row of this problem to its row number in the whole gradient with respect to
    /// `wrt`. Gathered rows are numbered from 0.
    pub fn row_number(&self, wrt: Wrt, row: usize) -> usize {
        if wrt.is_parameter() {
            row
        } else {
            self.first_row + row
        }
    }

    /// Returns the number of samples that the loss is taken over.
    fn samples(&self) -> usize {
        match &*self.all_targets {
            Target::Classes(classes) => classes.len(),
            Target::Probabilities(probabilities) => probabilities.shape()[0],
        }
    }

    /// Returns the number of samples that the loss is taken over, and of those that are not
    /// ignored.
    pub fn valid_samples(&self) -> (usize, usize) {
        let samples = self.samples();
        let ignored = match &*self.all_targets {
            Target::Classes(classes) => {
                let ignored = |class: &&i64| **class == self.loss.ignore_index;
                classes.iter().filter(ignored).count()
            }
            Target::Probabilities(_) => 0,
        };
        (samples, samples - ignored)
    }

    /// Returns n, the number of samples.
    pub fn n(&self) -> usize {
        self.input.shape()[0]
    }

    /// Returns d, the number of features.
    pub fn d(&self) -> usize {
        self.input.shape()[1]
    }

    /// Returns k, the number of classes.
    pub fn k(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Returns the input, [n, d].
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// Returns the weight, [k, d].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Returns true if the layer has a bias.
    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// Returns the bias `[k]`: zeros if the layer has none.
    pub fn bias<T: Real>(&self) -> Vec<T> {
        self.bias
            .as_ref()
            .map_or_else(|| vec![T::zero(); self.k()], Tensor::values)
    }

    /// Returns the bias as it was given.
    #[cfg(feature = "files")]
    pub(crate) fn bias_tensor(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Returns the targets of a range of rows in the kernels' form.
    pub fn target_rows<T: Real>(&self, rows: Range<usize>) -> TargetRows<T> {
        let rows = self.first_row + rows.start..self.first_row + rows.end;
        self.loss.target_rows(&self.target, rows, self.k())
    }

    /// Returns the targets. A range of rows returns all targets of the problem that it is part of.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the class of a row, or `None` if it is ignored or its target is probabilities.
    pub fn label(&self, row: usize) -> Option<usize> {
        match &*self.target {
            Target::Classes(classes) => {
                let class = classes[self.first_row + row];
                (class != self.loss.ignore_index).then_some(class as usize)
            }
            Target::Probabilities(_) => None,
        }
    }

    /// Returns true if the target of a row is [`CrossEntropy::ignore_index`].
    pub fn is_ignored(&self, row: usize) -> bool {
        match &*self.target {
            Target::Classes(classes) => classes[self.first_row + row] == self.loss.ignore_index,
            Target::Probabilities(_) => false,
        }
    }

    /// Returns true if each target is one class, so that [`TargetRows::linear`] is `None`.
    pub fn is_one_hot(&self) -> bool {
        matches!(*self.target, Target::Classes(_)) && self.loss.label_smoothing == 0.0
    }

    /// Returns the number of equal targets behind the sum of a sample's targets: k times the share
    /// that is spread evenly over all classes.
    pub fn equal_targets(&self) -> f64 {
        self.k() as f64 * self.uniform_share
    }

    /// Returns a bound on R, the weight of a sample's loss.
    pub fn largest_total(&self) -> f64 {
        let largest = |weights: &[f64]| weights.iter().fold(0.0f64, |largest, w| largest.max(*w));
        let weight = self.loss.class_weight.as_deref().map_or(1.0, largest);
        match &*self.target {
            Target::Classes(_) => weight,
            Target::Probabilities(tensor) => {
                let sum = |row| tensor.rows::<f64>(row..row + 1).iter().sum::<f64>();
                weight * (0..tensor.shape()[0]).map(sum).fold(1.0, f64::max)
            }
        }
    }

    /// Returns the options of the loss.
    pub fn loss(&self) -> &CrossEntropy {
        &self.loss
    }

    /// Returns Z, the divisor of the sum of the samples' losses.
    pub fn normalizer(&self) -> f64 {
        self.normalizer
    }

    /// Returns the number of rows of the gradient with respect to `wrt`: samples or classes.
    pub fn rows(&self, wrt: Wrt) -> usize {
        if wrt.is_parameter() {
            self.k()
        } else {
            self.n()
        }
    }

    /// Returns m, the number of columns of the gradient with respect to `wrt`; 1 for the bias.
    pub fn columns(&self, wrt: Wrt) -> usize {
        match wrt {
            Wrt::Input | Wrt::Weight => self.d(),
            Wrt::Logits => self.k(),
            Wrt::Bias => 1,
        }
    }

    /// Returns the shape of the gradient with respect to `wrt`.
    pub fn gradient_shape(&self, wrt: Wrt) -> Vec<usize> {
        match wrt {
            Wrt::Bias => vec![self.k()],
            _ => vec![self.rows(wrt), self.columns(wrt)],
        }
    }

    /// Returns the number of terms of the longest sum behind an entry of the gradient. It is a sum
    /// over classes; for a parameter it may be one over samples.
    pub fn terms(&self, wrt: Wrt) -> usize {
        if wrt.is_parameter() {
            self.k().max(self.n())
        } else {
            self.k()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_rows_keep_the_loss_over_all_samples() {
        let tensor = |shape: &[usize]| {
            let values: Vec<f64> = (0..shape.iter().product()).map(|i| i as f64).collect();
            Tensor::from_f64(shape, &values)
        };
        let target = Tensor::from_classes(&[0, -100, 1, 1, 0]);
        let loss = CrossEntropy::default();
        let problem = Problem::new(tensor(&[5, 3]), tensor(&[2, 3]), None, &target, loss).unwrap();
        let part = problem.slice(1..5).gather(&[0, 3]);
        assert_eq!(part.n(), 2);
        assert!(part.is_ignored(0));
        assert_eq!(part.label(1), Some(0));
        assert_eq!((part.valid_samples(), part.normalizer()), ((5, 4), 4.0));
        let other = part.with_loss(CrossEntropy {
            ignore_index: 1,
            ..CrossEntropy::default()
        });
        assert_eq!(other.unwrap().normalizer(), 3.0);
        assert_eq!(part.of_rows(&[1]).unwrap().valid_samples(), (1, 1));
        assert!(part.of_rows(&[0]).is_err());
    }
}
