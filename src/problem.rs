//! The function that is differentiated: a linear layer or given logits, cross-entropy and their
//! tensors, validated once. Later stages do not validate again.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    loss::{CrossEntropy, Reduction, Target, TargetRows},
    tensor::{Dtype, Real, Tensor},
};

mod layout;
mod model;
mod part;
mod read;
mod slopes;
mod wrt;

pub use layout::{Layout, WeightLayout};
pub(crate) use read::read_target;
pub use wrt::Wrt;

use model::{Linear, Model};

/// The logits z = input · weightᵀ + bias, or given logits, and the cross-entropy of z against the
/// targets.
///
/// A problem may hold some rows of a larger one. Its loss is still taken over all samples.
#[derive(Clone, Debug)]
pub struct Problem {
    model: Model,
    /// The targets of all samples that the loss is taken over.
    all_targets: Arc<Target>,
    /// The targets. Those from `first_row` on belong to the rows of the input.
    target: Arc<Target>,
    first_row: usize,
    loss: CrossEntropy,
    normalizer: f64,
    /// The root of the largest share of a sample's target that is spread evenly over all classes.
    uniform_share: f64,
    /// The weight of each sample's loss, in the order of `target`. `None` is 1 for every sample.
    sample_weight: Option<Arc<Vec<f64>>>,
    /// The layout of each variable's gradient in the user's file, by [`Wrt::ALL`]. `None` is a
    /// matrix, or a vector for the bias.
    layouts: Arc<[Option<Layout>; 4]>,
    computed_in: Option<Dtype>,
    /// The samples of the case that this problem holds a part of, if its other samples are
    /// elsewhere.
    whole: Option<Whole>,
    /// The numbers of the rows of the samples in the whole, if they are not in order.
    numbers: Option<Arc<Vec<usize>>>,
}

/// The samples of a case whose rows lie in several files.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// All samples.
    pub rows: usize,
    /// Those that are not ignored.
    pub counted: usize,
    /// Z, the divisor of the sum of their losses.
    pub normalizer: f64,
}

impl Problem {
    /// Creates a problem from `input` [n, d], `weight` [k, d], `bias` `[k]` and `target`: `[n]`
    /// classes or [n, k] probabilities.
    ///
    /// # Errors
    /// [`Error`] for the first fault in a shape, type, value, target or
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

    /// Creates a problem whose variable is `logits` [n, k], with `target` as for [`Problem::new`].
    ///
    /// # Errors
    /// Those of [`Problem::new`].
    pub fn of_logits(logits: Tensor, target: &Tensor, loss: CrossEntropy) -> Result<Self> {
        let problem = Self::unread_logits(logits, target, loss)?;
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
        weight.require_finite("weight")?;
        if let Some(bias) = &bias {
            bias.require_finite("bias")?;
        }
        let model = Model::Linear(Box::new(Linear::new(input, weight, bias)));
        Self::of_model(model, &sizes, target, loss)
    }

    /// Creates a problem without reading its logits, as [`Problem::unread`] does for the input.
    ///
    /// # Errors
    /// Those of [`Problem::of_logits`].
    pub(crate) fn unread_logits(
        logits: Tensor,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        let sizes = read::sizes_of_logits(&logits)?;
        Self::of_model(Model::Logits(logits), &sizes, target, loss)
    }

    fn of_model(
        model: Model,
        sizes: &read::Sizes,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        loss.validate(sizes.k)?;
        let target = Arc::new(read::target(target, sizes, &loss)?);
        let normalizer = read::normalizer(&target, sizes.n, &loss)?;
        let uniform_share = loss.uniform_share(&target);
        Ok(Self {
            model,
            all_targets: Arc::clone(&target),
            target,
            first_row: 0,
            loss,
            normalizer,
            uniform_share,
            sample_weight: None,
            layouts: Arc::default(),
            computed_in: None,
            whole: None,
            numbers: None,
        })
    }

    /// Returns the problem without a normalizer, until [`Problem::of_whole`] gives it one.
    #[cfg(feature = "files")]
    pub(crate) fn without_normalizer(mut self) -> Self {
        self.loss.normalizer = None;
        self
    }

    /// Returns the normalizer of a mean: the sum of the class weights of all samples that are not
    /// ignored, or their number.
    pub fn mean_normalizer(&self) -> f64 {
        let loss = CrossEntropy {
            reduction: Reduction::Mean,
            normalizer: None,
            ..self.loss.clone()
        };
        loss.normalizer(&self.all_targets, self.all_targets.len())
    }

    /// Returns the problem as a part of a case whose other samples are elsewhere. The loss is taken
    /// over all of them.
    pub fn of_whole(self, whole: Whole) -> Self {
        Self {
            normalizer: whole.normalizer,
            whole: Some(whole),
            ..self
        }
    }

    /// Returns the problem with a weight `[n]` for each sample's loss: an upstream gradient. It may
    /// be negative. The normalizer does not depend on it.
    ///
    /// # Errors
    /// [`Error`] if the shape, the type or a value is not allowed.
    pub fn with_sample_weight(self, sample_weight: &Tensor) -> Result<Self> {
        let sample_weight = read::sample_weight(sample_weight, self.n())?;
        Ok(Self {
            sample_weight: Some(Arc::new(sample_weight)),
            ..self
        })
    }

    /// Returns the problem with the same weight for every sample's loss.
    pub(crate) fn without_sample_weight(&self) -> Self {
        Self {
            sample_weight: None,
            ..self.clone()
        }
    }

    /// Returns the problem with the type that its gradients were computed in, if they are stored in
    /// a wider one: autocast stores numbers of bf16 in f32. Their tolerance is that of this type.
    pub fn with_computed_in(self, computed_in: Option<Dtype>) -> Self {
        Self {
            computed_in,
            ..self
        }
    }

    /// Returns the type that the gradients were computed in, if it is not that of each gradient.
    pub fn computed_in(&self) -> Option<Dtype> {
        self.computed_in
    }

    /// Returns the problem with the layout that the gradient with respect to `wrt` has in the
    /// user's file. Only the places of entries in messages and reports depend on it.
    pub fn with_layout(mut self, wrt: Wrt, layout: Layout) -> Self {
        Arc::make_mut(&mut self.layouts)[wrt as usize] = Some(layout);
        self
    }

    /// Requires the input, or the logits, to be finite in a range of rows.
    ///
    /// # Errors
    /// [`NotFinite`](Error::NotFinite) with the first entry that is not.
    pub(crate) fn require_finite(&self, rows: Range<usize>) -> Result<()> {
        let name = self.model.samples_name();
        let samples = self.samples();
        let finite = samples.require_finite_rows(name, rows, self.first_row);
        finite.map_err(|error| match error {
            Error::NotFinite { name, index, value } => Error::NotFinite {
                name,
                index: match self.layout(self.samples_wrt()) {
                    Some(layout) => layout.index(index[0], index[1]),
                    None => index,
                },
                value,
            },
            error => error,
        })
    }

    /// Returns this problem with another loss, or `None` if that loss has no sample to average
    /// over.
    pub(crate) fn with_loss(&self, loss: CrossEntropy) -> Option<Self> {
        let here = |loss: &CrossEntropy| {
            let samples = self.all_targets.len();
            loss.normalizer(&self.all_targets, samples)
        };
        let mut normalizer = here(&loss);
        if self.whole.is_some() {
            // The samples elsewhere are taken to be like those here.
            normalizer *= self.normalizer / here(&self.loss);
        }
        (normalizer > 0.0).then(|| Self {
            uniform_share: loss.uniform_share(&self.all_targets),
            loss,
            normalizer,
            ..self.clone()
        })
    }

    /// Converts a row of this problem to its row number in the whole gradient with respect to
    /// `wrt`. Gathered rows are numbered from 0.
    pub fn row_number(&self, wrt: Wrt, row: usize) -> usize {
        match &self.numbers {
            _ if wrt.is_parameter() => row,
            Some(numbers) => numbers[self.first_row + row],
            None => self.first_row + row,
        }
    }

    /// Returns the place of the first row in the problem that this one is a range of.
    pub(crate) fn first_row(&self) -> usize {
        self.first_row
    }

    /// Returns the problem with the numbers of its rows in the whole.
    #[cfg(feature = "files")]
    pub(crate) fn numbered(self, numbers: Vec<usize>) -> Self {
        Self {
            numbers: Some(Arc::new(numbers)),
            ..self
        }
    }

    /// Returns the layout that the gradient with respect to `wrt` has in the user's file, unless
    /// it is a matrix, or a vector for the bias.
    pub fn layout(&self, wrt: Wrt) -> Option<&Layout> {
        self.layouts[wrt as usize].as_ref()
    }

    /// Returns the text form of an entry's place in the user's file: `grad[3,5]`, `grad_bias[3]`.
    pub fn place(&self, wrt: Wrt, row: usize, column: usize) -> String {
        wrt.place(&wrt.index(self.layout(wrt), self.row_number(wrt, row), column))
    }

    /// Returns the number of samples that the loss is taken over.
    pub(crate) fn sample_count(&self) -> usize {
        match self.whole {
            Some(whole) => whole.rows,
            None => self.all_targets.len(),
        }
    }

    /// Returns the case that this problem holds a part of, if its other samples are elsewhere.
    pub fn whole(&self) -> Option<Whole> {
        self.whole
    }

    /// Returns the number of samples that the loss is taken over, and of those that are not
    /// ignored.
    pub fn valid_samples(&self) -> (usize, usize) {
        if let Some(whole) = self.whole {
            return (whole.rows, whole.counted);
        }
        let samples = self.sample_count();
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
        self.samples().shape()[0]
    }

    /// Returns d, the number of features; 0 if the logits are given.
    pub fn d(&self) -> usize {
        match &self.model {
            Model::Linear(linear) => linear.input.shape()[1],
            Model::Logits(_) => 0,
        }
    }

    /// Returns k, the number of classes.
    pub fn k(&self) -> usize {
        match &self.model {
            Model::Linear(linear) => linear.weight.shape()[0],
            Model::Logits(logits) => logits.shape()[1],
        }
    }

    /// Returns true if the logits are given. They are then the only variable: there is no layer,
    /// and neither input nor weight.
    pub fn is_of_logits(&self) -> bool {
        matches!(self.model, Model::Logits(_))
    }

    /// Returns the tensor with one row per sample: the input [n, d], or given logits [n, k].
    pub fn samples(&self) -> &Tensor {
        self.model.samples()
    }

    /// Returns the variable that [`Problem::samples`] holds.
    fn samples_wrt(&self) -> Wrt {
        match self.model {
            Model::Linear(_) => Wrt::Input,
            Model::Logits(_) => Wrt::Logits,
        }
    }

    /// Returns the input, [n, d].
    ///
    /// # Panics
    /// If the logits are given.
    pub fn input(&self) -> &Tensor {
        &self.layer().input
    }

    /// Returns the weight, [k, d].
    ///
    /// # Panics
    /// If the logits are given.
    pub fn weight(&self) -> &Tensor {
        &self.layer().weight
    }

    fn layer(&self) -> &Linear {
        match &self.model {
            Model::Linear(linear) => linear,
            Model::Logits(_) => unreachable!("given logits are the only variable"),
        }
    }

    /// Returns the elements of the weight, [k, d]: none if the logits are given.
    pub fn weight_values<T: Real>(&self) -> Vec<T> {
        match &self.model {
            Model::Linear(linear) => linear.weight.values(),
            Model::Logits(_) => Vec::new(),
        }
    }

    /// Returns true if there is a layer, and it has a bias.
    pub fn has_bias(&self) -> bool {
        self.bias_tensor().is_some()
    }

    /// Returns the bias `[k]`: zeros if there is none.
    pub fn bias<T: Real>(&self) -> Vec<T> {
        self.bias_tensor()
            .map_or_else(|| vec![T::zero(); self.k()], Tensor::values)
    }

    /// Returns the bias as it was given.
    pub(crate) fn bias_tensor(&self) -> Option<&Tensor> {
        match &self.model {
            Model::Linear(linear) => linear.bias.as_ref(),
            Model::Logits(_) => None,
        }
    }

    /// Returns the weights of the rows' losses, or `None` if every weight is 1.
    pub fn sample_weight(&self) -> Option<&[f64]> {
        let weights = self.sample_weight.as_ref()?;
        Some(&weights[self.first_row..][..self.n()])
    }

    /// Returns the targets of a range of rows in the kernels' form.
    pub fn target_rows<T: Real>(&self, rows: Range<usize>) -> TargetRows<T> {
        let in_target = self.first_row + rows.start..self.first_row + rows.end;
        let targets = self.loss.target_rows(&self.target, in_target, self.k());
        match self.sample_weight() {
            Some(weights) => targets.weighted(&weights[rows], self.k()),
            None => targets,
        }
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

    /// Returns true if neither classes nor samples have weights.
    pub fn is_unweighted(&self) -> bool {
        self.loss.class_weight.is_none() && self.sample_weight.is_none()
    }

    /// Returns the number of equal targets behind the sum of a sample's targets: k times the share
    /// that is spread evenly over all classes.
    pub fn equal_targets(&self) -> f64 {
        self.k() as f64 * self.uniform_share
    }

    /// Returns a bound on |R|, the weight of a sample's loss.
    pub fn largest_total(&self) -> f64 {
        let larger = |largest: f64, w: &f64| largest.max(w.abs());
        let largest = |weights: &[f64]| weights.iter().fold(0.0, larger);
        let weight = self.loss.class_weight.as_deref().map_or(1.0, largest)
            * self.sample_weight().map_or(1.0, largest);
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
            self.k().max(self.sample_count())
        } else {
            self.k()
        }
    }
}
