//! The evaluation of a range of rows, as read back from the device. Rows are widened when they are
//! read.

use std::ops::Range;

use super::{Columns, Element, Readback};
use crate::engine::{Bounds, Evaluation, Losses, RowSource, Values};

/// The evaluation of a range of rows, in the arithmetic of T and with padding.
pub(super) struct Evaluated<T> {
    /// The columns of the gradient, m.
    pub(super) columns: Columns,
    /// The conditioning, [rows, m].
    pub(super) conditioning: Readback,
    /// The largest magnitude and the largest logit error of each row, [rows, 2].
    pub(super) bounds: Readback,
    /// The sum of the squares of the samples' conditioning, [k, m], with respect to a parameter.
    pub(super) squares: Option<Readback>,
    pub(super) results: Results<T>,
    /// The totals R, `[rows]`.
    pub(super) totals: Vec<T>,
}

/// The results of the plan's method.
pub(super) enum Results<T> {
    /// The derivative, [rows, m].
    Derivative(Readback),
    /// The losses of each step, [rows, m], and the values that were perturbed.
    Losses(Vec<Readback>, Base<T>),
}

/// The values that were perturbed, [rows, m].
pub(super) enum Base<T> {
    Input(Vec<T>),
    Logits(Readback),
}

impl<T: Element> RowSource for Evaluated<T> {
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        let padded = self.columns.padded;
        let entries = rows.start * padded..rows.end * padded;
        let read = |values: &[T], into: &mut Vec<f64>| {
            self.columns.unpad(&values[entries.clone()], into);
        };
        match &self.results {
            Results::Derivative(derivative) => {
                read(derivative.values(), evaluation.values.derivative_mut());
            }
            Results::Losses(losses, base) => {
                let unpadded = |values: &[T]| {
                    let mut unpadded = Vec::new();
                    read(values, &mut unpadded);
                    unpadded
                };
                let at_steps = losses.iter().map(|losses| unpadded(losses.values()));
                evaluation.values = Values::Losses(Losses {
                    at_steps: at_steps.collect(),
                    dropped: Vec::new(),
                    base: match base {
                        Base::Input(input) => unpadded(input),
                        Base::Logits(logits) => unpadded(logits.values()),
                    },
                });
            }
        }
        let bounds = &mut evaluation.bounds;
        read(self.conditioning.values(), &mut bounds.conditioning);
        let of_rows = &self.row_bounds()[rows.clone()];
        bounds.magnitude = of_rows
            .iter()
            .map(|[magnitude, _]| magnitude.f64())
            .collect();
        bounds.logit_error = of_rows.iter().map(|[_, error]| error.f64()).collect();
        bounds.totals = self.totals[rows].iter().map(|v| v.f64().abs()).collect();
    }
}

impl<T: Element> Evaluated<T> {
    /// Returns the sums over all samples with respect to a parameter of `classes` classes, and the
    /// largest bounds of a sample.
    pub(super) fn of_parameter(&self, classes: usize) -> Evaluation {
        let read = |values: &[T]| {
            let mut unpadded = Vec::new();
            let entries = classes * self.columns.padded;
            self.columns.unpad(&values[..entries], &mut unpadded);
            unpadded
        };
        let largest = |of: usize| {
            let values = self.row_bounds().iter().map(|bounds| bounds[of].f64());
            vec![values.fold(0.0, f64::max); classes]
        };
        let derivative = match &self.results {
            Results::Derivative(derivative) => read(derivative.values()),
            Results::Losses(..) => unreachable!("the CPU engine computes these: Device::fallback"),
        };
        let squares = self.squares.as_ref();
        let squares = squares.map(|squares| read(squares.values()));
        let total = self.totals.iter().map(|v| v.f64().abs()).sum();
        Evaluation {
            bounds: Bounds {
                conditioning: read(self.conditioning.values()),
                squares: squares.unwrap_or_default(),
                peak: derivative.iter().map(|sum| sum.abs()).collect(),
                tolerated: Vec::new(),
                magnitude: largest(0),
                logit_error: largest(1),
                totals: vec![total; classes],
            },
            values: Values::Derivative(derivative),
            ..Evaluation::default()
        }
    }

    /// Returns the largest magnitude and the largest logit error of each row.
    fn row_bounds(&self) -> &[[T; 2]] {
        let (bounds, _) = self.bounds.values::<T>().as_chunks::<2>();
        bounds
    }
}
