//! A linear layer and a loss, as in a user's program.

use std::rc::Rc;

use gradprobe::{
    loss::{CrossEntropy, IGNORE_INDEX, Reduction},
    problem::{Problem, Wrt},
    tensor::{Dtype, Tensor},
};
use rand::RngExt;

use super::numbers::{Rng, argmax, log_uniform, normal, pick};
use crate::framework::{Arithmetic, round, targets, tensor};

/// Label smoothings that are drawn.
pub(crate) const SMOOTHINGS: [f64; 4] = [0.05, 0.1, 0.2, 0.3];
/// Most multiply-adds of a forward pass.
pub(crate) const MOST_WORK: usize = 4_000_000;

/// n, d and k.
type Shape = (usize, usize, usize);

/// A loss's backward pass: from a program and its logits to the gradient with respect to the
/// logits, [n, k].
pub(crate) type Backward = Rc<dyn Fn(&Program, &[f64]) -> Vec<f64>>;

/// A linear layer and a loss. Every operand is exact in the type that the program computes in.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) shape: Shape,
    /// Approximate standard deviation of the logits.
    pub(crate) scale: f64,
    pub(crate) input: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Option<Vec<f64>>,
    pub(crate) target: Vec<i64>,
    pub(crate) loss: CrossEntropy,
    pub(crate) backward: Backward,
    /// Factor of the loss before the backward pass.
    pub(crate) factor: f64,
    /// Divisor of the sum of the losses, if it is not Z.
    pub(crate) divisor: Option<f64>,
    /// Factor of the layer's backward pass, if it is not the weight.
    pub(crate) backward_weight: Option<Vec<f64>>,
}

impl Program {
    pub(crate) fn random(rng: &mut Rng, dtype: Dtype) -> Self {
        let mut size = |low: f64, high: f64| log_uniform(rng, low, high + 1.0) as usize;
        let shape = loop {
            let (n, d, k) = (size(8.0, 512.0), size(3.0, 256.0), size(2.0, 64.0));
            if n * d * k < MOST_WORK {
                break (n, d, k);
            }
        };
        Self::of_shape(rng, dtype, shape)
    }

    pub(crate) fn of_shape(rng: &mut Rng, dtype: Dtype, shape: Shape) -> Self {
        let (n, d, k) = shape;
        let scale = log_uniform(rng, 0.1, 10.0);
        let mut program = Self {
            arithmetic: Arithmetic::of(dtype),
            shape,
            scale,
            input: normal(rng, dtype, n * d, 1.0),
            weight: normal(rng, dtype, k * d, scale / (d as f64).sqrt()),
            bias: rng.random_bool(0.7).then(|| normal(rng, dtype, k, scale)),
            target: vec![0; n],
            loss: CrossEntropy::default(),
            backward: Rc::new(cross_entropy),
            factor: 1.0,
            divisor: None,
            backward_weight: None,
        };
        program.draw_target(rng);
        program.draw_options(rng);
        program
    }

    /// Draws labels at random or, as in a trained model, likelier with a larger logit.
    fn draw_target(&mut self, rng: &mut Rng) {
        let k = self.shape.2;
        let trained = rng.random_bool(0.4);
        let logits = self.logits();
        for (target, z) in self.target.iter_mut().zip(logits.chunks_exact(k)) {
            // The largest of the logits plus Gumbel noise has the softmax's distribution.
            let mut score = |c: usize| {
                let noise = -(-rng.random_range(1e-12..1.0f64).ln()).ln();
                if trained { z[c] + noise } else { noise }
            };
            let scores: Vec<f64> = (0..k).map(&mut score).collect();
            *target = argmax(&scores) as i64;
        }
    }

    fn draw_options(&mut self, rng: &mut Rng) {
        if rng.random_bool(0.2) {
            self.loss.reduction = Reduction::Sum;
        }
        if rng.random_bool(0.15) {
            self.ignore_some(rng);
        }
        if rng.random_bool(0.15) {
            self.loss.class_weight = Some(self.draw_class_weight(rng));
        }
        if rng.random_bool(0.15) {
            self.loss.label_smoothing = pick(rng, &SMOOTHINGS);
        }
    }

    pub(crate) fn draw_class_weight(&self, rng: &mut Rng) -> Vec<f64> {
        let weight = |_| round(self.arithmetic.dtype, rng.random_range(0.2..3.0));
        (0..self.shape.2).map(weight).collect()
    }

    /// Ignores up to two samples in five.
    pub(crate) fn ignore_some(&mut self, rng: &mut Rng) {
        let n = self.shape.0;
        let count = rng.random_range(1..=n * 2 / 5);
        (0..count).for_each(|_| self.target[rng.random_range(0..n)] = IGNORE_INDEX);
    }

    /// Gives every class and sample the same weight, and removes label smoothing. Keeps the
    /// reduction.
    pub(crate) fn plain(&mut self, rng: &mut Rng) {
        let k = self.shape.2 as i64;
        self.loss.class_weight = None;
        self.loss.label_smoothing = 0.0;
        let ignored = self.target.iter_mut().filter(|t| **t == IGNORE_INDEX);
        ignored.for_each(|target| *target = rng.random_range(0..k));
    }

    /// Rounds all operands to another type, in which the program computes from now on.
    pub(crate) fn cast(&mut self, dtype: Dtype) {
        self.arithmetic.dtype = dtype;
        let weights = [self.bias.as_mut(), self.loss.class_weight.as_mut()];
        let tensors = [Some(&mut self.input), Some(&mut self.weight)];
        for tensor in tensors.into_iter().chain(weights).flatten() {
            tensor.iter_mut().for_each(|v| *v = round(dtype, *v));
        }
    }

    /// Returns the problem as a file declares it.
    pub(crate) fn problem(&self) -> Problem {
        let (n, d, k) = self.shape;
        let tensor = |shape: &[usize], values: &[f64]| tensor(self.arithmetic.dtype, shape, values);
        Problem::new(
            tensor(&[n, d], &self.input),
            tensor(&[k, d], &self.weight),
            self.bias.as_ref().map(|bias| tensor(&[k], bias)),
            &Tensor::from_classes(&self.target),
            self.loss.clone(),
        )
        .unwrap()
    }

    pub(crate) fn is_mean(&self) -> bool {
        self.loss.reduction == Reduction::Mean
    }

    /// Returns the samples that are not ignored.
    pub(crate) fn counted(&self) -> Vec<usize> {
        let counts = |j: &usize| self.target[*j] != IGNORE_INDEX;
        (0..self.shape.0).filter(counts).collect()
    }

    /// Returns Z of the mean, whatever the reduction is.
    pub(crate) fn mean_normalizer(&self) -> f64 {
        let mut mean = self.clone();
        mean.loss.reduction = Reduction::Mean;
        mean.problem().normalizer()
    }

    pub(crate) fn logits(&self) -> Vec<f64> {
        let zeros = vec![0.0; self.shape.2];
        let bias = self.bias.as_ref().unwrap_or(&zeros);
        self.arithmetic.logits(&self.input, &self.weight, bias)
    }

    /// Returns r · factor / Z, [n, k], the operand of the loss's backward pass.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let problem = self.problem();
        let divisor = self.divisor.unwrap_or(problem.normalizer());
        let weight = |r| self.arithmetic.round(r * self.factor / divisor);
        targets(&problem).into_iter().map(weight).collect()
    }

    pub(crate) fn dlogits(&self) -> Vec<f64> {
        (self.backward)(self, &self.logits())
    }

    pub(crate) fn gradient_from(&self, dlogits: &[f64], wrt: Wrt) -> Vec<f64> {
        let weight = self.backward_weight.as_ref().unwrap_or(&self.weight);
        let k = self.shape.2;
        self.arithmetic
            .backward(wrt, dlogits, &self.input, weight, k)
    }

    pub(crate) fn gradient(&self, wrt: Wrt) -> Vec<f64> {
        self.gradient_from(&self.dlogits(), wrt)
    }

    /// Returns the program in f64.
    pub(crate) fn exact(&self) -> Self {
        let arithmetic = Arithmetic::of(Dtype::F64);
        Self {
            arithmetic,
            ..self.clone()
        }
    }

    /// Returns for each entry of the gradient the sum of the magnitudes of its terms.
    pub(crate) fn sizes(&self, dlogits: &[f64], wrt: Wrt) -> Vec<f64> {
        let sizes = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<f64>>();
        let (input, weight) = (sizes(&self.input), sizes(&self.weight));
        self.arithmetic
            .backward(wrt, &sizes(dlogits), &input, &weight, self.shape.2)
    }

    /// Takes a step of gradient descent.
    pub(crate) fn step(&mut self, rate: f64, weight_gradient: &[f64], bias_gradient: &[f64]) {
        let arithmetic = self.arithmetic;
        let step = |(value, g): (&mut f64, &f64)| *value = arithmetic.round(*value - rate * g);
        self.weight.iter_mut().zip(weight_gradient).for_each(step);
        let bias = self.bias.iter_mut().flatten();
        bias.zip(bias_gradient).for_each(step);
    }
}

/// Computes the backward pass as frameworks do: that of log_softmax, given that of the weighted sum
/// of its values.
pub(crate) fn cross_entropy(program: &Program, z: &[f64]) -> Vec<f64> {
    let (arithmetic, k) = (program.arithmetic, program.shape.2);
    let log_p = arithmetic.log_softmax(z, k);
    arithmetic.log_softmax_backward(&log_p, &program.weights(), k)
}
