//! Prediction of the gradient under another cause: any loss over any layer, at the chosen rows.
//!
//! With G the loss's derivative with respect to the logits, [n, k], the gradient is G·W for the
//! input, G for the logits, Gᵀ·X for the weight and the column sums of G for the bias.

use std::{borrow::Cow, ops::Range};

use rayon::prelude::*;

use super::{
    Evidence,
    forward::{STRIP, Strip},
};
use crate::{
    cpu::{matmul::matmul, ordered::fold_parts, outer::outer},
    diagnose::{
        layer::Layer,
        losses::{LossDerivative, cross_entropy},
    },
    problem::Wrt,
};

/// Terms of a product: with their signs, or their magnitudes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    Signed,
    Magnitudes,
}

impl Terms {
    fn of(self, values: &[f64]) -> Cow<'_, [f64]> {
        match self {
            Self::Signed => values.into(),
            Self::Magnitudes => values.iter().map(|value| value.abs()).collect(),
        }
    }
}

impl Evidence<'_> {
    /// Returns the gradient of `loss` over `layer` at the chosen rows.
    pub(in crate::diagnose) fn predict(&self, layer: &Layer, loss: &LossDerivative) -> Vec<f64> {
        self.predict_rows(&self.rows, layer, loss)
    }

    /// Returns the gradient of `loss` over `layer` at `rows`.
    pub(in crate::diagnose) fn predict_rows(
        &self,
        rows: &[usize],
        layer: &Layer,
        loss: &LossDerivative,
    ) -> Vec<f64> {
        let z = self.problem.normalizer();
        let derivative = |strip: &Strip| strip.derivative(z);
        self.product(rows, layer, loss, &derivative, Terms::Signed)
    }

    /// Returns the derivative of `loss` with respect to the logits of some samples, [samples, k].
    pub(in crate::diagnose) fn derivatives(
        &self,
        samples: &[usize],
        layer: &Layer,
        loss: &LossDerivative,
    ) -> Vec<f64> {
        let z = self.problem.normalizer();
        let strips = samples.par_chunks(STRIP);
        let strips = strips.map(|samples| self.strip(samples, layer, loss).derivative(z));
        strips.collect::<Vec<_>>().concat()
    }

    /// Returns the derivative of the declared loss with respect to the parameters of `layer`,
    /// estimated from some samples. If the problem has no bias, the bias part is 0.
    pub(in crate::diagnose) fn layer_gradient(&self, layer: &Layer, samples: &[usize]) -> Layer {
        let (d, k) = (self.problem.d(), self.problem.k());
        let (z, loss) = (self.problem.normalizer(), &cross_entropy);
        // The samples, a draw or the selected rows, represent all samples.
        let (all, _) = self.problem.valid_samples();
        let z = z * samples.len() as f64 / all as f64;
        let mut weight = sum_over(samples, k * d + k, |samples| {
            let strip = self.strip(samples, layer, loss);
            let left = strip.derivative(z);
            let mut part = outer(&left, &strip.input, k, d);
            part.extend(outer(&left, &vec![1.0; samples.len()], k, 1));
            part
        });
        let mut bias = weight.split_off(k * d);
        if !self.problem.has_bias() {
            bias.fill(0.0);
        }
        Layer { weight, bias }
    }

    /// Returns the gradient at `rows` that follows from a matrix [samples, k] in place of G. `left`
    /// computes the matrix of a strip; the other operand is the weight of `layer`, or the input.
    pub(super) fn product(
        &self,
        rows: &[usize],
        layer: &Layer,
        loss: &LossDerivative,
        left: &(dyn Fn(&Strip) -> Vec<f64> + Sync),
        terms: Terms,
    ) -> Vec<f64> {
        let d = self.problem.d();
        let weight = match self.wrt {
            Wrt::Input => terms.of(&layer.weight),
            _ => Cow::default(),
        };
        let part = |samples: &[usize]| {
            let strip = self.strip(samples, layer, loss);
            let left = self.left_operand(rows, left(&strip));
            match self.wrt {
                Wrt::Input => matmul(&left, &weight, d),
                Wrt::Logits => left,
                Wrt::Weight => outer(&left, &terms.of(&strip.input), rows.len(), d),
                Wrt::Bias => outer(&left, &vec![1.0; samples.len()], rows.len(), 1),
            }
        };
        if self.wrt.is_parameter() {
            let samples: Vec<usize> = (0..self.problem.n()).collect();
            sum_over(&samples, rows.len() * self.columns(), part)
        } else {
            let parts = rows.par_chunks(STRIP).map(part);
            parts.collect::<Vec<_>>().concat()
        }
    }

    /// Selects the classes `rows` of a matrix [samples, k] if the rows of the gradient are classes,
    /// and rounds it as an operand of a matrix product.
    fn left_operand(&self, rows: &[usize], mut left: Vec<f64>) -> Vec<f64> {
        let k = self.problem.k();
        if self.wrt.is_parameter() && rows.len() < k {
            left = left
                .chunks_exact(k)
                .flat_map(|left| rows.iter().map(|&class| left[class]))
                .collect();
        }
        if let (Some(rounding), Wrt::Input | Wrt::Weight) = (self.operand_rounding, self.wrt) {
            // The operand is in f32 before it is rounded.
            left.iter_mut()
                .for_each(|g| *g = rounding(f64::from(*g as f32)));
        }
        left
    }
}

/// Returns the sum of `of` over strips of samples, `length` numbers.
fn sum_over(
    samples: &[usize],
    length: usize,
    of: impl Fn(&[usize]) -> Vec<f64> + Sync,
) -> Vec<f64> {
    let part = |range: Range<usize>| {
        let mut sum = vec![0.0; length];
        let strips = samples[range].chunks(STRIP);
        strips.for_each(|strip| add(&mut sum, &of(strip)));
        sum
    };
    let fold = |mut sum: Vec<f64>, part: Vec<f64>| {
        add(&mut sum, &part);
        sum
    };
    fold_parts(0..samples.len(), STRIP, part, vec![0.0; length], fold)
}

fn add(sum: &mut [f64], part: &[f64]) {
    sum.iter_mut()
        .zip(part)
        .for_each(|(sum, part)| *sum += part);
}
