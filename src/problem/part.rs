//! Some of the rows of a problem.

use std::{ops::Range, sync::Arc};

#[cfg(feature = "files")]
use super::model::Model;
use super::{Problem, Wrt, read};
use crate::{error::Result, loss::Target};
#[cfg(feature = "files")]
use crate::{loss::CrossEntropy, tensor::Tensor};

impl Problem {
    /// Returns a range of the rows. The loss is still taken over all samples.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            model: self.model.with_samples(self.samples().slice(rows.clone())),
            first_row: self.first_row + rows.start,
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
        let weights = self.sample_weight.as_ref();
        let weights = weights.map(|weights| in_target.iter().map(|&row| weights[row]).collect());
        let mut layouts = self.layouts.as_ref().clone();
        for wrt in Wrt::ALL.into_iter().filter(|wrt| !wrt.is_parameter()) {
            layouts[wrt as usize] = None;
        }
        Self {
            model: self.model.with_samples(self.samples().gather(rows)),
            target: Arc::new(target),
            first_row: 0,
            numbers: None,
            sample_weight: weights.map(Arc::new),
            layouts: Arc::new(layouts),
            ..self.clone()
        }
    }

    /// Returns the problem of other samples, with the same layer and loss.
    ///
    /// # Errors
    /// Those of [`Problem::new`].
    #[cfg(feature = "files")]
    pub(crate) fn with_rows(&self, samples: Tensor, target: &Tensor) -> Result<Self> {
        // All of them may be ignored: the loss is that of the whole.
        let loss = CrossEntropy {
            normalizer: Some(self.normalizer),
            ..self.loss.clone()
        };
        let problem = match &self.model {
            Model::Linear(linear) => {
                let (weight, bias) = (linear.weight.clone(), linear.bias.clone());
                Self::unread(samples, weight, bias, target, loss)?
            }
            Model::Logits(_) => Self::unread_logits(samples, target, loss)?,
        };
        let mut problem = problem.with_computed_in(self.computed_in);
        problem.loss.normalizer = self.loss.normalizer;
        Ok(problem)
    }

    /// Returns a problem of some rows, with the loss taken over these alone.
    ///
    /// # Errors
    /// [`Setting`](crate::error::Error::Setting) if all of them are ignored.
    pub(crate) fn of_rows(&self, rows: &[usize]) -> Result<Self> {
        let part = self.gather(rows);
        let normalizer = read::normalizer(&part.target, rows.len(), &part.loss)?;
        Ok(Self {
            all_targets: Arc::clone(&part.target),
            whole: None,
            normalizer,
            uniform_share: part.loss.uniform_share(&part.target),
            ..part
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{loss::CrossEntropy, problem::Problem, tensor::Tensor};

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
