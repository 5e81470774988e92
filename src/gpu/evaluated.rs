//! An evaluation as a device left it: f32, with padding; rows of it are widened where they are used.

use std::ops::Range;

use super::Readback;
use crate::plan::Evaluation;

/// What a device computed for a range of rows.
pub struct Evaluated {
    /// Columns of the gradient, and the same with their padding.
    pub(super) columns: [usize; 2],
    pub(super) conditioning: Readback,
    /// [rows, 2]: the largest magnitude behind a logit, and the largest of what of it counts.
    pub(super) bounds: Readback,
    pub(super) losses: Vec<Readback>,
    /// What the quotient of each step counts; of `difference`.
    pub(super) weights: Vec<f64>,
    /// Padded as the rest.
    pub(super) base: Base,
    /// R.
    pub(super) totals: Vec<f32>,
}

/// What was perturbed; `forward-pass` only.
pub(super) enum Base {
    None,
    /// The input, which the host has.
    Input(Vec<f32>),
    Logits(Readback),
}

impl Evaluated {
    /// Of some of its rows.
    pub fn rows(&self, rows: Range<usize>) -> Evaluation {
        let [_, padded] = self.columns;
        let of_entries = |values: &[f32]| {
            unpadded(
                &values[rows.start * padded..rows.end * padded],
                self.columns,
            )
        };
        let (bounds, _) = self.bounds.values().as_chunks::<2>();
        let bounds = bounds.get(rows.clone()).unwrap_or_default();
        let losses = self.losses.iter();
        let mut losses: Vec<Vec<f64>> = losses.map(|v| of_entries(v.values())).collect();
        let derivative = match self.base {
            Base::None => weigh(std::mem::take(&mut losses), &self.weights),
            _ => Vec::new(),
        };
        Evaluation {
            derivative,
            losses,
            base: match &self.base {
                Base::None => Vec::new(),
                Base::Input(input) => of_entries(input),
                Base::Logits(logits) => of_entries(logits.values()),
            },
            conditioning: of_entries(self.conditioning.values()),
            magnitude: bounds.iter().map(|[all, _]| f64::from(*all)).collect(),
            totals: widen(self.totals.get(rows).unwrap_or_default()),
            moved: bounds.iter().map(|[_, moved]| f64::from(*moved)).collect(),
        }
    }

    /// With respect to a parameter of so many classes: their sums over all samples, and the largest bounds.
    pub(super) fn of_parameter(&self, classes: usize) -> Evaluation {
        let (bounds, _) = self.bounds.values().as_chunks::<2>();
        let largest = |of: usize| {
            let values = bounds.iter().map(|bounds| f64::from(bounds[of]));
            vec![values.fold(0.0, f64::max); classes]
        };
        let total = self.totals.iter().copied().map(f64::from).sum();
        Evaluation {
            magnitude: largest(0),
            moved: largest(1),
            totals: vec![total; classes],
            ..self.rows(0..classes)
        }
    }
}

/// The sum of the quotients, each with its weight.
fn weigh(mut quotients: Vec<Vec<f64>>, weights: &[f64]) -> Vec<f64> {
    let mut derivative = quotients.pop().unwrap_or_default();
    let last = weights.last().copied().unwrap_or_default();
    derivative.iter_mut().for_each(|v| *v *= last);
    for (quotients, weight) in quotients.iter().zip(weights) {
        for (v, quotient) in derivative.iter_mut().zip(quotients) {
            *v += weight * quotient;
        }
    }
    derivative
}

/// Rows of `padded` values, widened, the first `columns` of each.
pub(super) fn unpadded(values: &[f32], [columns, padded]: [usize; 2]) -> Vec<f64> {
    if columns == padded {
        return widen(values);
    }
    values
        .chunks_exact(padded)
        .flat_map(|row| row[..columns].iter().copied().map(f64::from))
        .collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
