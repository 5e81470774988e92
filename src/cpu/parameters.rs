//! Runs the kernels with respect to a parameter of the layer, in order, for a part of the samples.
//!
//! A parameter's gradient is a sum over the samples, so each part adds to every entry [k, m]. The
//! bias is the weight of an input that is 1.

use std::{borrow::Cow, ops::Range};

use rayon::prelude::*;

use super::{
    difference_weight::difference_weight,
    kernels::{Forward, Kernels},
    logits::logits,
    loss::loss,
    outer::{outer, outer_squares},
};
use crate::{
    engine::{Bounds, Evaluation, Losses, Values},
    loss::{TargetRows, compensated_sum},
    problem::Wrt,
    scheme::Method,
    tensor::Real,
};

impl<T: Real> Kernels<'_, T> {
    /// Sums the given entries [k·m] over some rows.
    pub(super) fn evaluate_parameter(
        &self,
        rows: Range<usize>,
        entries: Range<usize>,
    ) -> Evaluation {
        let (k, m) = (self.problem.k(), self.problem.columns(self.plan.wrt));
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows.clone());
        let Forward { logits, softmax } = self.forward(&input, &targets);
        let multiplier = self.multiplier(&input, rows.len());
        let values = match self.plan.method {
            Method::Difference => {
                let steps: Vec<(f64, f64)> = self.plan.quotients().collect();
                let residual = &softmax.residual;
                let all = difference_weight(residual, &multiplier, &steps, &targets, k, m);
                Values::Derivative(T::widen(all[entries.clone()].to_vec()))
            }
            Method::ForwardPass => {
                let losses =
                    |step| self.parameter_losses(&logits, &input, &targets, step, entries.clone());
                let base = match self.plan.wrt {
                    Wrt::Bias => &self.bias,
                    _ => &self.weight,
                };
                Values::Losses(Losses {
                    at_steps: self.plan.steps().map(losses).collect(),
                    dropped: Vec::new(),
                    base: T::widen(base[entries.clone()].to_vec()),
                })
            }
        };
        let magnitudes: Vec<T> = multiplier.iter().map(|x| x.abs()).collect();
        let conditioning = T::widen(outer(&softmax.conditioning, &magnitudes, k, m));
        let squares = T::widen(outer_squares(&softmax.conditioning, &magnitudes, k, m));
        let peak = match &values {
            Values::Derivative(sums) => sums.iter().map(|sum| sum.abs()).collect(),
            // No partial sum is larger than the sum of the magnitudes.
            Values::Losses(_) => conditioning[entries.clone()].to_vec(),
        };
        let (row_bounds, _) = softmax.bounds.as_chunks::<2>();
        let largest = |bound: usize| {
            let values = row_bounds.iter().map(|bounds| bounds[bound].f64());
            values.fold(0.0, |largest, value| value.max(largest))
        };
        let total = compensated_sum(targets.totals.iter().map(|total| total.f64().abs()));
        let bounds = Bounds {
            conditioning: conditioning[entries.clone()].to_vec(),
            squares: squares[entries].to_vec(),
            peak,
            tolerated: Vec::new(),
            magnitude: vec![largest(0); k],
            logit_error: vec![largest(1); k],
            totals: vec![total; k],
        };
        Evaluation {
            values,
            bounds,
            ..Evaluation::default()
        }
    }

    /// Sums the gradient by the chain rule over some rows, [k·m].
    pub(super) fn backward_parameter(&self, rows: Range<usize>) -> Vec<f64> {
        let (k, m) = (self.problem.k(), self.problem.columns(self.plan.wrt));
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows.clone());
        let gradient = self.backward_logits(&input, &targets);
        T::widen(outer(&gradient, &self.multiplier(&input, rows.len()), k, m))
    }

    /// Returns the derivative of a logit with respect to the parameter: the input, or 1 for the
    /// bias.
    fn multiplier<'a>(&self, input: &'a [T], rows: usize) -> Cow<'a, [T]> {
        if self.plan.wrt == Wrt::Bias {
            Cow::Owned(vec![T::one(); rows])
        } else {
            Cow::Borrowed(input)
        }
    }

    /// Computes, for each of the entries, the sum of the losses of all rows with that entry
    /// perturbed.
    ///
    /// 1. A step in `W[c,i]` or `b[c]` moves only logit c, so only that column of the logits is
    ///    computed again.
    /// 2. The losses are added with compensation, because the difference of two of these sums is
    ///    small.
    fn parameter_losses(
        &self,
        z: &[T],
        input: &[T],
        targets: &TargetRows<T>,
        step: f64,
        entries: Range<usize>,
    ) -> Vec<f64> {
        let (d, k) = (self.problem.d(), self.problem.k());
        let m = self.problem.columns(self.plan.wrt);
        let loss = |entry: usize| {
            let (c, i) = (entry / m, entry % m);
            let mut weight = self.weight[c * d..(c + 1) * d].to_vec();
            let mut bias = self.bias[c];
            match self.plan.wrt {
                Wrt::Bias => bias += T::of(step),
                _ => weight[i] += T::of(step),
            }
            let column = logits(input, &weight, &[bias], d).logits;
            let mut perturbed = z.to_vec();
            for (row, logit) in perturbed.chunks_exact_mut(k).zip(column) {
                row[c] = logit;
            }
            let losses = loss(&perturbed, targets, 0, 1, k);
            compensated_sum(losses.into_iter().map(Real::f64))
        };
        entries.into_par_iter().map(loss).collect()
    }
}
