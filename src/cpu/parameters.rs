//! The gradients with respect to the layer's weight and bias: sums over the samples, in parts of which every engine call
//! gives one. The bias is the weight of an input that is 1.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Cpu, Operands, difference_weight::difference_weight, logits::logits, loss, ordered::fold_parts,
    outer::outer,
};
use crate::{
    loss::{TargetRows, compensated_sum},
    plan::Evaluation,
    problem::Wrt,
    scheme::Method,
    tensor::Real,
};

impl Cpu<'_> {
    pub(super) fn evaluate_parameters<T: Real>(
        &self,
        operands: &Operands<T>,
        rows: Range<usize>,
    ) -> Evaluation {
        let entries = 0..self.problem.k() * self.problem.columns(self.plan.wrt);
        let part = |rows| self.parameters_part(operands, rows, entries.clone());
        sum_of_parts(rows, part, Evaluation::add)
    }

    /// One entry alone, of all samples.
    pub(super) fn evaluate_parameter<T: Real>(
        &self,
        operands: &Operands<T>,
        entry: usize,
    ) -> Evaluation {
        let part = |rows| self.parameters_part(operands, rows, entry..entry + 1);
        let mut evaluation = sum_of_parts(0..self.problem.n(), part, Evaluation::add);
        let row = entry / self.problem.columns(self.plan.wrt);
        for values in [
            &mut evaluation.magnitude,
            &mut evaluation.totals,
            &mut evaluation.moved,
        ] {
            *values = vec![values[row]];
        }
        evaluation
    }

    pub(super) fn backward_parameters<T: Real>(
        &self,
        operands: &Operands<T>,
        rows: Range<usize>,
    ) -> Vec<f64> {
        let part = |rows: Range<usize>| {
            let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
            let input: Vec<T> = self.problem.input().rows(rows.clone());
            let normalizer = T::of(self.problem.normalizer());
            let gradient = self.forward(operands, &input, &targets).gradient;
            let gradient: Vec<T> = gradient.into_iter().map(|g| g / normalizer).collect();
            let multiplier = self.multiplier(input, rows.len());
            T::widen(outer(
                &gradient,
                &multiplier,
                self.problem.k(),
                self.problem.columns(self.plan.wrt),
            ))
        };
        let add = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
        sum_of_parts(rows, part, add)
    }

    /// What a step in a parameter is multiplied by on its way to a logit: the input, or 1.
    fn multiplier<T: Real>(&self, input: Vec<T>, rows: usize) -> Vec<T> {
        if self.plan.wrt == Wrt::Bias {
            vec![T::one(); rows]
        } else {
            input
        }
    }

    /// The sums over `rows` of the given entries [k·m].
    pub(super) fn parameters_part<T: Real>(
        &self,
        operands: &Operands<T>,
        rows: Range<usize>,
        entries: Range<usize>,
    ) -> Evaluation {
        let (k, m) = (self.problem.k(), self.problem.columns(self.plan.wrt));
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows.clone());
        let forward = self.forward(operands, &input, &targets);
        let (bounds, _) = forward.bounds.as_chunks::<2>();
        let largest = |of: usize| {
            bounds
                .iter()
                .fold(0.0, |largest, bounds| bounds[of].f64().max(largest))
        };
        let (losses, base) = match self.plan.method {
            Method::Difference => (Vec::new(), Vec::new()),
            Method::ForwardPass => {
                let at = |step| {
                    self.parameter_losses(
                        operands,
                        &forward.logits,
                        &input,
                        &targets,
                        step,
                        entries.clone(),
                    )
                };
                let base = if self.plan.wrt == Wrt::Bias {
                    &operands.bias
                } else {
                    &operands.weight
                };
                (
                    self.plan.steps().map(at).collect(),
                    T::widen(base[entries.clone()].to_vec()),
                )
            }
        };
        let multiplier = self.multiplier(input, rows.len());
        let magnitudes: Vec<T> = multiplier.iter().map(|x| x.abs()).collect();
        let derivative = match self.plan.method {
            Method::Difference => {
                let steps: Vec<(f64, f64)> = self.plan.quotients().collect();
                let residual = &forward.residual;
                let all = difference_weight(residual, &multiplier, &steps, &targets, k, m);
                T::widen(all[entries.clone()].to_vec())
            }
            Method::ForwardPass => Vec::new(),
        };
        let conditioning = T::widen(outer(&forward.conditioning, &magnitudes, k, m));
        Evaluation {
            derivative,
            losses,
            base,
            conditioning: conditioning[entries].to_vec(),
            magnitude: vec![largest(0); k],
            totals: vec![compensated_sum(targets.totals.iter().map(|total| total.f64())); k],
            moved: vec![largest(1); k],
        }
    }

    /// The loss of all rows together, with one parameter moved after the other.
    fn parameter_losses<T: Real>(
        &self,
        operands: &Operands<T>,
        z: &[T],
        input: &[T],
        targets: &TargetRows<T>,
        step: f64,
        entries: Range<usize>,
    ) -> Vec<f64> {
        let (d, k, m) = (
            self.problem.d(),
            self.problem.k(),
            self.problem.columns(self.plan.wrt),
        );
        let loss = |entry: usize| {
            let (c, i) = (entry / m, entry % m);
            let (mut weight, mut bias) = (
                operands.weight[c * d..(c + 1) * d].to_vec(),
                operands.bias[c],
            );
            match self.plan.wrt {
                Wrt::Bias => bias += T::of(step),
                _ => weight[i] += T::of(step),
            }
            // Only logits of this class move.
            let column = logits(input, &weight, &[bias], d).logits;
            let mut moved = z.to_vec();
            for (row, column) in moved.chunks_exact_mut(k).zip(column) {
                row[c] = column;
            }
            compensated_sum(
                loss::loss(&moved, targets, 0, 1, k)
                    .into_iter()
                    .map(Real::f64),
            )
        };
        entries.into_par_iter().map(loss).collect()
    }
}

/// Adds the results of `part` over all rows.
fn sum_of_parts<S: Send + Default>(
    rows: Range<usize>,
    part: impl Fn(Range<usize>) -> S + Sync,
    add: impl Fn(S, S) -> S,
) -> S {
    let add = |sum, part| {
        Some(match sum {
            Some(sum) => add(sum, part),
            None => part,
        })
    };
    fold_parts(rows, 1, part, None, add).unwrap_or_default()
}

impl Evaluation {
    /// The evaluation of two sets of samples together: sums, and the largest of what is largest.
    pub(crate) fn add(mut self, other: Self) -> Self {
        let add = |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        let raise =
            |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        add(&mut self.derivative, other.derivative);
        for (losses, other) in self.losses.iter_mut().zip(other.losses) {
            add(losses, other);
        }
        add(&mut self.conditioning, other.conditioning);
        add(&mut self.totals, other.totals);
        raise(&mut self.magnitude, other.magnitude);
        raise(&mut self.moved, other.moved);
        self
    }
}
