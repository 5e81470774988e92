//! The evidence that rules examine: the gradient under test, the right one, and predictions of the
//! same entries for any other layer or loss.
//!
//! The right gradient is the closed form, in f64 on the host. By the time of a diagnosis the finite
//! difference has confirmed it.

use std::sync::{Arc, OnceLock};

use super::{
    layer::{Descent, Layer},
    losses::cross_entropy,
    pair::Pair,
};
use crate::{
    loss::Reduction,
    problem::{Layout, Problem, Wrt},
    report::{Comparison, Ranges, column_noun},
    tensor::Tensor,
};

mod bounds;
mod chosen_rows;
mod forward;
mod predict;

/// Rounds to fewer bits.
pub(super) type Rounding = fn(f64) -> f64;

/// One gradient under test, with methods that predict it under another cause.
#[derive(Clone)]
pub(super) struct Evidence<'a> {
    pub(super) problem: &'a Problem,
    pub(super) check: &'a Comparison,
    pub(super) wrt: Wrt,
    /// Rows of the gradient that rules examine: all if they are few, else some of the wrong ones
    /// and a draw of the others.
    pub(super) rows: Vec<usize>,
    /// The layer of the problem.
    pub(super) layer: Arc<Layer>,
    gradient: &'a Tensor,
    /// True if another loss may also explain the gradient up to the order of its rows or columns.
    pub(super) any_order: bool,
    /// [`Descent`] over a draw of the samples, and over all of them.
    pub(super) descents: [OnceLock<Option<Descent>>; 2],
    /// Rounding of the operands of matrix products, if there is one.
    operand_rounding: Option<Rounding>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(problem: &'a Problem, gradient: &'a Tensor, check: &'a Comparison) -> Self {
        let layer = Layer {
            weight: problem.weight_values(),
            bias: problem.bias(),
        };
        Self {
            problem,
            check,
            wrt: check.wrt,
            rows: chosen_rows::rows(problem, check),
            layer: Arc::new(layer),
            gradient,
            any_order: false,
            descents: Default::default(),
            operand_rounding: None,
        }
    }

    /// Returns the evidence as computed on a machine that rounds the operands of matrix products.
    pub(super) fn with_operands(&self, rounding: Rounding) -> Self {
        let layer = Layer {
            weight: self.layer.weight.iter().map(|w| rounding(*w)).collect(),
            bias: self.layer.bias.clone(),
        };
        Self {
            layer: Arc::new(layer),
            operand_rounding: Some(rounding),
            ..self.clone()
        }
    }

    /// Returns the evidence for rules that accept another order of rows or columns.
    pub(super) fn in_any_order(&self) -> Self {
        Self {
            any_order: true,
            ..self.clone()
        }
    }

    /// Returns the gradient under test beside the right one.
    pub(super) fn pair(&self) -> Pair {
        let right = self.predict(&self.layer, &cross_entropy);
        let allowed = self.allowed(&self.layer, &cross_entropy, &right, self.check.dtype);
        Pair::new(
            self.given(&self.rows),
            right,
            allowed,
            self.columns(),
            self.check.dtype,
            self.check.tolerance,
        )
    }

    /// Returns rows of the gradient under test.
    pub(super) fn given(&self, rows: &[usize]) -> Vec<f64> {
        let row = |&row: &usize| self.gradient.rows::<f64>(row..row + 1);
        rows.iter().flat_map(row).collect()
    }

    /// Returns the gradient's name in the file.
    pub(super) fn name(&self) -> &'static str {
        self.wrt.grad_name()
    }

    /// Returns the layout of the gradient in the user's file.
    pub(super) fn layout(&self) -> Option<&Layout> {
        self.problem.layout(self.wrt)
    }

    /// Returns the noun for a column of the gradient.
    pub(super) fn column_noun(&self) -> &'static str {
        column_noun(self.layout())
    }

    /// Returns the number of columns of the gradient.
    pub(super) fn columns(&self) -> usize {
        self.problem.columns(self.wrt)
    }

    /// Returns true if every row is examined.
    pub(super) fn is_whole(&self) -> bool {
        self.rows.len() == self.problem.rows(self.wrt)
    }

    /// Returns true if the loss is a mean.
    pub(super) fn is_mean(&self) -> bool {
        self.problem.loss().reduction == Reduction::Mean
    }

    /// Returns true if the loss has class weights.
    pub(super) fn is_weighted(&self) -> bool {
        self.problem.loss().class_weight.is_some()
    }

    /// Returns true if the loss ignores some samples.
    pub(super) fn has_ignored(&self) -> bool {
        let (valid, all) = self.valid_rows();
        valid < all
    }

    /// Maps rows of the problem to their numbers in the whole gradient.
    pub(super) fn numbers(&self, rows: &Ranges) -> Ranges {
        let number = |row| self.problem.row_number(self.wrt, row);
        rows.iter().map(number).collect()
    }

    /// Returns the number of samples that are not ignored, and of all.
    pub(super) fn valid_rows(&self) -> (f64, f64) {
        let (all, valid) = self.problem.valid_samples();
        (valid as f64, all as f64)
    }
}
