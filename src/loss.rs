//! Cross-entropy, with all of PyTorch's options in one form.
//!
//! Let `r[j,c]` be the weight of class c in the loss of sample j: one-hot, smoothed or class
//! probabilities, times class weights, and zero in an ignored row. Let `R[j]` be the sum of
//! `r[j,:]` and Z the normalizer. With p the softmax of the logits z,
//!
//! ```text
//! l[j] = R[j] logsumexp(z[j,:]) - sum_c r[j,c] z[j,c]        L = sum_j l[j] / Z
//! dl[j]/dz[j,c] = R[j] p[j,c] - r[j,c]
//! ```
//!
//! A weight of each sample, which may be negative, multiplies `r[j,:]`, hence `R[j]` and `l[j]`. Z
//! does not depend on it.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    tensor::{Real, Tensor},
};

/// The reduction of the samples' losses to one number: PyTorch's `reduction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// The sum of the losses divided by Z: the sum of the class weights of all rows that are not
    /// ignored, or n for class probabilities.
    #[default]
    Mean,
    /// The sum of the losses: Z is 1.
    Sum,
}

impl fmt::Display for Reduction {
    /// Writes the name that PyTorch uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// PyTorch's default for `ignore_index`. It is not a valid class.
pub const IGNORE_INDEX: i64 = -100;

/// The options of `torch.nn.functional.cross_entropy`.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// The reduction of the samples' losses to one number.
    pub reduction: Reduction,
    /// The weight of each class, `[k]`: PyTorch's `weight`. `None` is 1 for every class.
    pub class_weight: Option<Vec<f64>>,
    /// The target of samples that are ignored.
    pub ignore_index: i64,
    /// The share of the target that is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// Z, if it is not that of the reduction: the samples of all parts of a batch whose gradients
    /// are added up, or averaged over workers.
    pub normalizer: Option<f64>,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            class_weight: None,
            ignore_index: IGNORE_INDEX,
            label_smoothing: 0.0,
            normalizer: None,
        }
    }
}

/// The targets of samples.
#[derive(Clone, Debug)]
pub enum Target {
    /// One class per sample, or [`CrossEntropy::ignore_index`].
    Classes(Vec<i64>),
    /// The probability of each class, [n, k].
    Probabilities(Tensor),
}

impl Target {
    /// Returns the number of samples.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Probabilities(probabilities) => probabilities.shape()[0],
        }
    }
}

/// The label of a sample whose target has no dominant class, in [`TargetRows::labels`].
pub const NO_LABEL: u32 = u32::MAX;

/// The targets of a range of samples in the kernels' form: a one-hot part and the rest,
/// `r[c] = R 1[c = label] - linear[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetRows<T> {
    /// The class with more than half of R, or [`NO_LABEL`], `[rows]`.
    pub labels: Vec<u32>,
    /// The total R of each row, `[rows]`. It is negative if the sample's weight is.
    pub totals: Vec<T>,
    /// The linear part, [rows, k]. `None` if every target is one class: it would be 0.
    pub linear: Option<Vec<T>>,
}

impl<T: Real> TargetRows<T> {
    /// Returns the targets of samples whose losses have these weights, of k classes.
    pub(crate) fn weighted(mut self, weights: &[f64], k: usize) -> Self {
        let weight = |value: &mut T, weight: f64| *value = T::of(value.f64() * weight);
        for (row, &by) in weights.iter().enumerate() {
            weight(&mut self.totals[row], by);
            let linear = self.linear.as_mut();
            let of_row = linear.map_or(&mut [][..], |linear| &mut linear[row * k..][..k]);
            of_row.iter_mut().for_each(|value| weight(value, by));
        }
        self
    }
}

impl CrossEntropy {
    /// Validates the options for k classes.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`] or [`Error::Setting`].
    pub(crate) fn validate(&self, k: usize) -> Result<()> {
        if let Some(normalizer) = self.normalizer
            && !(normalizer > 0.0 && normalizer.is_finite())
        {
            return Err(Error::Setting {
                name: "normalizer",
                found: normalizer.to_string(),
                expected: "it must be a finite number above 0".to_owned(),
            });
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let found = self.label_smoothing.to_string();
            let expected = "it must lie between 0 and 1".to_owned();
            return Err(Error::Setting {
                name: "label_smoothing",
                found,
                expected,
            });
        }
        let Some(weight) = &self.class_weight else {
            return Ok(());
        };
        if weight.len() != k {
            let expected = format!("it must be [{k}], one weight per class");
            return Err(Error::Shape {
                name: "class_weight",
                expected,
                found: vec![weight.len()],
            });
        }
        match weight.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            None => Ok(()),
            Some(c) if weight[c].is_finite() => {
                let expected = format!("class {c} cannot have a negative weight");
                Err(Error::Setting {
                    name: "class_weight",
                    found: weight[c].to_string(),
                    expected,
                })
            }
            Some(c) => Err(Error::NotFinite {
                name: "class_weight",
                index: vec![c],
                value: weight[c],
            }),
        }
    }

    /// Returns Z, the divisor of the sum of the samples' losses, for n samples.
    pub(crate) fn normalizer(&self, target: &Target, n: usize) -> f64 {
        if let Some(normalizer) = self.normalizer {
            return normalizer;
        }
        match (self.reduction, target) {
            (Reduction::Sum, _) => 1.0,
            (Reduction::Mean, Target::Probabilities(_)) => n as f64,
            (Reduction::Mean, Target::Classes(classes)) => compensated_sum(
                classes
                    .iter()
                    .filter(|&&class| class != self.ignore_index)
                    .map(|&class| self.weight(class)),
            ),
        }
    }

    /// Returns the root of the largest share of a sample's target that is spread evenly over all
    /// classes. The root, because equal terms round in proportion to the rest of the sum, too.
    pub(crate) fn uniform_share(&self, target: &Target) -> f64 {
        let smoothing = self.label_smoothing;
        let Target::Probabilities(probabilities) = target else {
            return smoothing.sqrt();
        };
        let share = |row| {
            let row = probabilities.rows::<f64>(row..row + 1);
            let least = row.iter().copied().fold(f64::INFINITY, f64::min);
            let total: f64 = row.iter().sum();
            if total > 0.0 {
                least * row.len() as f64 / total
            } else {
                0.0
            }
        };
        let rows = 0..probabilities.shape()[0];
        let largest = rows.map(share).fold(0.0, f64::max);
        (smoothing + (1.0 - smoothing) * largest).sqrt()
    }

    fn weight(&self, class: i64) -> f64 {
        self.class_weight
            .as_ref()
            .map_or(1.0, |weight| weight[class as usize])
    }

    /// Returns the targets of a range of samples, of k classes, in the kernels' form.
    pub(crate) fn target_rows<T: Real>(
        &self,
        target: &Target,
        rows: Range<usize>,
        k: usize,
    ) -> TargetRows<T> {
        let one_hot = matches!(target, Target::Classes(_)) && self.label_smoothing == 0.0;
        if let (true, Target::Classes(classes)) = (one_hot, target) {
            let class = |&class: &i64| {
                if class == self.ignore_index {
                    (NO_LABEL, T::zero())
                } else {
                    (class as u32, T::of(self.weight(class)))
                }
            };
            let (labels, totals) = classes[rows].iter().map(class).unzip();
            return TargetRows {
                labels,
                totals,
                linear: None,
            };
        }
        let mut targets = TargetRows {
            labels: Vec::new(),
            totals: Vec::new(),
            linear: None,
        };
        let mut linear = Vec::with_capacity(rows.len() * k);
        for row in rows {
            let r = self.class_weights_of(target, row, k);
            let total = compensated_sum(r.iter().copied());
            let label = r.iter().position(|&r| r > total / 2.0);
            let at_label = |c| if Some(c) == label { total } else { 0.0 };
            linear.extend(r.iter().enumerate().map(|(c, r)| T::of(at_label(c) - r)));
            targets
                .labels
                .push(label.map_or(NO_LABEL, |label| label as u32));
            targets.totals.push(T::of(total));
        }
        targets.linear = Some(linear);
        targets
    }

    /// Returns `r[j,:]` of a sample.
    fn class_weights_of(&self, target: &Target, row: usize, k: usize) -> Vec<f64> {
        let smoothing = self.label_smoothing;
        let mut r = match target {
            Target::Probabilities(probabilities) => probabilities.rows::<f64>(row..row + 1),
            Target::Classes(classes) if classes[row] == self.ignore_index => return vec![0.0; k],
            // One-hot here: the loop below weights each class's share by that class's own weight.
            Target::Classes(classes) => {
                let mut r = vec![0.0; k];
                r[classes[row] as usize] = 1.0;
                r
            }
        };
        for (c, r) in r.iter_mut().enumerate() {
            *r = self.weight(c as i64) * ((1.0 - smoothing) * *r + smoothing / k as f64);
        }
        r
    }
}

/// Returns the sum of the values, with its rounding errors added back (Neumaier, 1974). In a plain
/// sum, a thousand equal shares of a smoothed label would all round to the same side.
pub(crate) fn compensated_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for value in values {
        let (next, rest) = two_sum(sum, value);
        lost += rest;
        sum = next;
    }
    sum + lost
}

/// Returns a + b, and the part that its rounding dropped.
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let rest = if a.abs() >= b.abs() {
        (a - sum) + b
    } else {
        (b - sum) + a
    };
    (sum, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_combine_as_in_pytorch() {
        let loss = CrossEntropy {
            class_weight: Some(vec![1.0, 2.0, 4.0]),
            ignore_index: 1,
            label_smoothing: 0.3,
            ..CrossEntropy::default()
        };
        let target = Target::Classes(vec![2, 1, 0]);
        assert_eq!(loss.normalizer(&target, 3), 5.0);
        let targets = loss.target_rows::<f64>(&target, 0..3, 3);
        assert_eq!(
            (&targets.labels[..], targets.totals[1]),
            (&[2, NO_LABEL, 0][..], 0.0)
        );
        let r = |j: usize, c: usize| {
            let at_label = if targets.labels[j] == c as u32 {
                targets.totals[j]
            } else {
                0.0
            };
            at_label - targets.linear.as_ref().unwrap()[j * 3 + c]
        };
        for (c, expected) in [0.1, 0.2, 4.0 * 0.8].into_iter().enumerate() {
            assert!((r(0, c) - expected).abs() < 1e-15, "{c}");
            assert_eq!(r(1, c), 0.0);
        }
    }

    #[test]
    fn class_targets_have_no_linear_part() {
        let target = Target::Classes(vec![1, IGNORE_INDEX]);
        let targets = CrossEntropy::default().target_rows::<f32>(&target, 0..2, 2);
        assert_eq!(
            targets,
            TargetRows {
                labels: vec![1, NO_LABEL],
                totals: vec![1.0, 0.0],
                linear: None
            }
        );
    }
}
