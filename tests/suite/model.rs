//! A linear layer in a given type, with the gradients that a framework would compute.

use gradprobe::{
    check::{Options, Subject, check},
    device::Device,
    loss::CrossEntropy,
    problem::{Problem, Wrt},
    report::Report,
    tensor::{Dtype, Tensor},
};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::{
    framework::{Arithmetic, round, targets, tensor},
    problems::normal,
};

/// The operands of one linear layer, as a program in `dtype` holds them.
pub(crate) struct Model {
    pub(crate) dtype: Dtype,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) input: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) target: Tensor,
}

impl Model {
    pub(crate) fn random(seed: u64, dtype: Dtype, (n, d, k): (usize, usize, usize)) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rounded = |count, scale| -> Vec<f64> {
            let values = normal(&mut rng, count, scale).into_iter();
            values.map(|value| round(dtype, value)).collect()
        };
        let classes: Vec<i64> = (0..n).map(|j| (j * 7 % k) as i64).collect();
        Self {
            dtype,
            n,
            k,
            input: rounded(n * d, 1.0),
            weight: rounded(k * d, 1.0 / (d as f64).sqrt()),
            target: Tensor::from_classes(&classes),
        }
    }

    pub(crate) fn problem(&self) -> Problem {
        let (n, k, d) = (self.n, self.k, self.weight.len() / self.k);
        let input = tensor(self.dtype, &[n, d], &self.input);
        let weight = tensor(self.dtype, &[k, d], &self.weight);
        Problem::new(input, weight, None, &self.target, CrossEntropy::default()).unwrap()
    }

    /// Returns the logits' gradient of the mean loss.
    pub(crate) fn logits_gradient(&self) -> Vec<f64> {
        let arithmetic = Arithmetic::of(self.dtype);
        let bias = vec![0.0; self.k];
        let logits = arithmetic.logits(&self.input, &self.weight, &bias);
        let log_p = arithmetic.log_softmax(&logits, self.k);
        let weights: Vec<f64> = targets(&self.problem());
        let weights: Vec<f64> = weights.iter().map(|r| r / self.n as f64).collect();
        arithmetic.log_softmax_backward(&log_p, &weights, self.k)
    }

    /// Returns the gradients that follow from one of the logits.
    pub(crate) fn backward(&self, logits: &[f64]) -> [Vec<f64>; 4] {
        let arithmetic = Arithmetic::of(self.dtype);
        Wrt::ALL.map(|wrt| arithmetic.backward(wrt, logits, &self.input, &self.weight, self.k))
    }

    pub(crate) fn tensors(&self, gradients: &[Vec<f64>; 4]) -> Vec<(Wrt, Tensor)> {
        let problem = self.problem();
        let tensors = Wrt::ALL.into_iter().zip(gradients).map(|(wrt, values)| {
            let shape = problem.gradient_shape(wrt);
            (wrt, tensor(self.dtype, &shape, values))
        });
        tensors.collect()
    }

    /// Checks the gradients with respect to `wrts`.
    pub(crate) fn check(&self, gradients: &[Vec<f64>; 4], wrts: &[Wrt]) -> Report {
        self.check_with(gradients, wrts, &Options::default())
    }

    /// Checks the gradients with respect to `wrts`, with options.
    pub(crate) fn check_with(
        &self,
        gradients: &[Vec<f64>; 4],
        wrts: &[Wrt],
        options: &Options,
    ) -> Report {
        let tensors = self.tensors(gradients).into_iter();
        let subjects = tensors.filter(|(wrt, _)| wrts.contains(wrt));
        let subjects = subjects.map(|(wrt, gradient)| Subject {
            wrt,
            gradient: Some(gradient),
        });
        let (subjects, device) = (subjects.collect::<Vec<_>>(), Device::Cpu { note: None });
        check(&self.problem(), &subjects, options, &device, &mut ()).unwrap()
    }
}
