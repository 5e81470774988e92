//! An evaluation as a device left it, with padding; rows of it are widened where they are used.

use std::ops::Range;

use super::{Element, Readback};
use crate::engine::{Bounds, Evaluation, Losses, RowSource, Values};

/// What a device computed for a range of rows.
pub struct Evaluated<T> {
    /// Columns of the gradient, and the same with their padding.
    pub(super) columns: [usize; 2],
    pub(super) conditioning: Readback,
    /// [rows, 2]: the largest magnitude behind a logit, and the largest of what of it counts.
    pub(super) bounds: Readback,
    /// The derivative, or the losses a step.
    pub(super) results: Results<T>,
    /// R.
    pub(super) totals: Vec<T>,
}

/// What a method gives.
pub(super) enum Results<T> {
    Derivative(Readback),
    /// Of `forward-pass`, a vector a step, and what was perturbed.
    Losses(Vec<Readback>, Base<T>),
}

/// What was perturbed, padded as the rest.
pub(super) enum Base<T> {
    /// The input, which the host has.
    Input(Vec<T>),
    Logits(Readback),
}

impl<T: Element> RowSource for Evaluated<T> {
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        let [columns, padded] = self.columns;
        let entries = rows.start * padded..rows.end * padded;
        let read = |values: &[T], into: &mut Vec<f64>| {
            into.clear();
            for row in values[entries.clone()].chunks_exact(padded) {
                into.extend(row[..columns].iter().map(|v| v.f64()));
            }
        };
        read(
            self.conditioning.values(),
            &mut evaluation.bounds.conditioning,
        );
        match &self.results {
            Results::Derivative(derivative) => {
                read(derivative.values(), evaluation.values.derivative_mut());
            }
            Results::Losses(losses, base) => {
                let mut into = Losses::default();
                for losses in losses {
                    let mut at_step = Vec::new();
                    read(losses.values(), &mut at_step);
                    into.at_steps.push(at_step);
                }
                let base = match base {
                    Base::Input(input) => input,
                    Base::Logits(logits) => logits.values(),
                };
                read(base, &mut into.base);
                evaluation.values = Values::Losses(into);
            }
        }
        let (bounds, _) = self.bounds.values::<T>().as_chunks::<2>();
        let bounds = &bounds[rows.clone()];
        let of_rows = &mut evaluation.bounds;
        of_rows.magnitude = bounds.iter().map(|[all, _]| all.f64()).collect();
        of_rows.logit_error = bounds.iter().map(|[_, error]| error.f64()).collect();
        of_rows.totals = self.totals[rows].iter().map(|v| v.f64()).collect();
    }
}

impl<T: Element> Evaluated<T> {
    /// With respect to a parameter of so many classes: their sums over all samples, and the largest bounds.
    pub(super) fn of_parameter(&self, classes: usize) -> Evaluation {
        let [columns, padded] = self.columns;
        let of_entries = |values: &[T]| unpadded(&values[..classes * padded], [columns, padded]);
        let (bounds, _) = self.bounds.values::<T>().as_chunks::<2>();
        let largest = |of: usize| {
            let values = bounds.iter().map(|bounds| bounds[of].f64());
            vec![values.fold(0.0, f64::max); classes]
        };
        let derivative = match &self.results {
            Results::Derivative(derivative) => of_entries(derivative.values()),
            Results::Losses(..) => {
                unreachable!("forward passes for a parameter run on the host: Device::fallback")
            }
        };
        let total = self.totals.iter().map(|v| v.f64()).sum();
        Evaluation {
            values: Values::Derivative(derivative),
            bounds: Bounds {
                conditioning: of_entries(self.conditioning.values()),
                magnitude: largest(0),
                logit_error: largest(1),
                totals: vec![total; classes],
            },
            ..Evaluation::default()
        }
    }
}

/// Rows of `padded` values, widened, the first `columns` of each.
pub(super) fn unpadded<T: Element>(values: &[T], [columns, padded]: [usize; 2]) -> Vec<f64> {
    let rows = values.chunks_exact(padded);
    rows.flat_map(|row| row[..columns].iter().map(|v| v.f64()))
        .collect()
}
