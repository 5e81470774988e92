//! The shapes that arrays may have in a file, and their forms in a problem: matrices with one row
//! per sample or class.
//!
//! A form is accepted if the shapes decide it. If they leave a choice, the arrays are read as
//! PyTorch would: a weight as [k, d], and the classes of logits on axis 1. Each array that is not a
//! plain matrix or vector is reported in a note, and places in it are given by its own axes.

use super::{arrays::Arrays, bytes::Budget};
use crate::{
    error::{Error, Result},
    loss::CrossEntropy,
    problem::{Layout, Problem, WeightLayout, Wrt},
    tensor::Tensor,
};

mod choice;
mod words;

pub(super) use choice::SUM_ERROR;
use choice::{class_axis, weight_layout};

/// A problem and the gradients of a file, in the forms of a problem.
pub(super) struct Formed {
    pub(super) problem: Problem,
    /// The target, `[n]` or [n, k].
    pub(super) target: Tensor,
    pub(super) notes: Vec<String>,
    budget: Budget,
    /// The axes that count the samples.
    lead: Vec<usize>,
}

/// Builds a problem from the arrays of a file.
///
/// # Errors
/// [`Error::Shape`] if a shape does not fit the others, [`Error::Setting`] if an array is too large
/// to be put into another order, and those of [`Problem::new`].
pub(super) fn form(
    arrays: &Arrays,
    loss: CrossEntropy,
    asked: Option<WeightLayout>,
    budget: Budget,
) -> Result<Formed> {
    let mut notes = Vec::new();
    let (name, wrt, samples, weight) = match &arrays.weight {
        Some(weight) => {
            let (input, weight) = weight_layout(arrays, weight, asked)?;
            notes.extend(words::rows_note("input", &input));
            notes.extend(words::weight_note(&weight, &arrays.gradients));
            ("input", Wrt::Input, input, Some(weight))
        }
        None => {
            let logits = class_axis(arrays)?;
            notes.extend(words::classes_note("logits", &logits));
            ("logits", Wrt::Logits, logits, None)
        }
    };
    let k = weight.as_ref().map_or(samples.columns(), Layout::rows);
    let rows = Rows {
        lead: samples.row_axes(),
        of: name,
        k,
    };
    let target = rows.target(&arrays.target, &samples, budget)?;
    notes.extend(rows.flat_note("target", &arrays.target));
    let matrix = in_order(name, &samples, &arrays.samples, budget)?;
    let problem = match (&arrays.weight, &weight) {
        (Some(tensor), Some(layout)) => {
            let bias = arrays.bias.as_ref().map(|bias| match vector(bias, k) {
                Some(layout) => {
                    notes.push(words::vector_note("bias", bias, k));
                    layout.matrix(bias)
                }
                None => bias.clone(),
            });
            Problem::unread(matrix, layout.matrix(tensor), bias, &target, loss)
        }
        _ => Problem::unread_logits(matrix, &target, loss),
    };
    let problem = problem.map_err(|error| rows.located(error, &arrays.target, weight.as_ref()))?;
    let mut problem = problem.with_layout(wrt, samples);
    if let Some(layout) = &weight {
        problem = problem.with_layout(Wrt::Weight, layout.clone());
    }
    if let Some(weights) = &arrays.sample_weight {
        notes.extend(rows.flat_note("sample_weight", weights));
        problem = problem.with_sample_weight(&rows.vector(weights))?;
        notes.push(words::sample_weight_note(problem.loss()));
    }
    if k == 1 {
        notes.push(words::ONE_CLASS.to_owned());
    }
    Ok(Formed {
        problem,
        target,
        notes,
        budget,
        lead: rows.lead,
    })
}

/// Returns a tensor as a matrix. A copy in another order must fit the budget.
///
/// # Errors
/// [`Error::Setting`] if it does not, [`Error::Io`] if it cannot be fetched.
fn in_order(
    name: &'static str,
    layout: &Layout,
    tensor: &Tensor,
    budget: Budget,
) -> Result<Tensor> {
    if layout.interleaved() > 1 {
        budget.require_reordered(name, tensor.nbytes())?;
        tensor.fetch()?;
    }
    Ok(layout.matrix(tensor))
}

/// Returns the layout of a vector of k elements that has a second axis, [1, k] or [k, 1].
fn vector(tensor: &Tensor, k: usize) -> Option<Layout> {
    let shape = tensor.shape();
    (shape == [1, k] || shape == [k, 1]).then(|| Layout::new(shape, 2..2))
}

/// The rows that arrays with one row per sample must have.
struct Rows {
    /// The axes that count the samples.
    lead: Vec<usize>,
    /// The tensor that they belong to.
    of: &'static str,
    k: usize,
}

impl Rows {
    fn n(&self) -> usize {
        self.lead.iter().product()
    }

    /// Returns true for a shape with one element per sample.
    fn is_vector(&self, shape: &[usize]) -> bool {
        let n = self.n();
        let without_ones = shape.strip_suffix(&[1]).unwrap_or(shape);
        let is_flat = self.lead.len() == 1;
        [shape, without_ones].iter().any(|shape| {
            *shape == self.lead
                || *shape == [n]
                || (is_flat && shape.iter().product::<usize>() == n)
        })
    }

    /// Returns an array with one element per sample as a vector, and any other as it is.
    fn vector(&self, tensor: &Tensor) -> Tensor {
        if self.is_vector(tensor.shape()) {
            tensor.reshaped(&[self.n()])
        } else {
            tensor.clone()
        }
    }

    /// Returns a note on an array with axes that matrices of samples do not have.
    fn flat_note(&self, name: &str, tensor: &Tensor) -> Option<String> {
        let (n, k, shape) = (self.n(), self.k, tensor.shape());
        let is_plain = shape == [n] || shape == [n, 1] || shape == [n, k];
        (self.lead.len() == 1 && !is_plain).then(|| words::flat_note(name, shape, self.of))
    }

    /// Returns the target as `[n]` or [n, k].
    ///
    /// # Errors
    /// [`Error::Shape`] if it has another shape, and those of [`in_order`].
    fn target(&self, target: &Tensor, samples: &Layout, budget: Budget) -> Result<Tensor> {
        let (n, k, shape) = (self.n(), self.k, target.shape());
        let table = [self.lead.as_slice(), &[k]].concat();
        if self.of == "logits" && shape == samples.shape() {
            return in_order("target", samples, target, budget);
        }
        let is_flat_table = self.lead.len() == 1 && shape.ends_with(&[k]);
        if shape == table
            || shape == [n, k]
            || (is_flat_table && shape.iter().product::<usize>() == n * k)
        {
            return Ok(target.reshaped(&[n, k]));
        }
        if self.is_vector(shape) {
            return Ok(target.reshaped(&[n]));
        }
        let (lead, of) = (&self.lead, self.of);
        Err(Error::Shape {
            name: "target",
            expected: format!(
                "it must be {lead:?}, one class per row of {of}, \
                 or {table:?}, one-hot classes or class probabilities"
            ),
            found: shape.to_vec(),
        })
    }

    /// Returns an error on a matrix or vector with the place in the array that it was read from.
    fn located(&self, error: Error, target: &Tensor, weight: Option<&Layout>) -> Error {
        let axes = self.lead.len();
        let rows = Layout::new(&self.lead, axes..axes);
        match (error, weight) {
            (
                Error::Target {
                    index,
                    found,
                    classes,
                    starts_at_one,
                },
                _,
            ) if target.shape().starts_with(&self.lead) => Error::Target {
                index: rows.index(index[0], 0),
                found,
                classes,
                starts_at_one,
            },
            (Error::NotFinite { name, index, value }, Some(weight)) if name == "weight" => {
                let index = weight.index(index[0], index[1]);
                Error::NotFinite { name, index, value }
            }
            (error, _) => error,
        }
    }
}

impl Formed {
    /// Returns a gradient as a matrix, or as a vector for the bias, and records its layout.
    ///
    /// # Errors
    /// [`Error::Shape`] if it does not fit the problem, [`Error::Setting`] if it is too large to be
    /// put into another order.
    pub(super) fn gradient(&mut self, wrt: Wrt, tensor: &Tensor) -> Result<Tensor> {
        let name = wrt.grad_name();
        let layouts = self.layouts(wrt);
        let mut fitting = layouts.iter();
        let Some(layout) = fitting.find(|layout| layout.shape() == tensor.shape()) else {
            let transposed = tensor.shape().iter().rev();
            let is_transposed = wrt == Wrt::Weight && transposed.eq(layouts[0].shape());
            let advice = if is_transposed { "; transpose it" } else { "" };
            return Err(Error::Shape {
                name,
                expected: format!(
                    "it must be {:?}, the shape of {}{advice}",
                    layouts[0].shape(),
                    wrt.name()
                ),
                found: tensor.shape().to_vec(),
            });
        };
        if wrt == Wrt::Logits && !self.problem.is_of_logits() {
            self.notes.extend(words::classes_note(name, layout));
        }
        let matrix = in_order(name, layout, tensor, self.budget)?;
        self.problem = self.problem.clone().with_layout(wrt, layout.clone());
        Ok(matrix)
    }

    /// Returns the layouts that a gradient may have, the variable's own first.
    fn layouts(&self, wrt: Wrt) -> Vec<Layout> {
        let (n, d, k) = (self.problem.n(), self.problem.d(), self.problem.k());
        match (wrt, self.problem.layout(wrt)) {
            (Wrt::Input | Wrt::Logits, Some(own)) => {
                vec![own.clone(), Layout::new(&[n, own.columns()], 1..2)]
            }
            (Wrt::Weight, own) => own.into_iter().cloned().collect(),
            (Wrt::Bias, _) => vec![
                Layout::new(&[k], 1..1),
                Layout::new(&[1, k], 2..2),
                Layout::new(&[k, 1], 2..2),
            ],
            (Wrt::Input, None) => vec![Layout::new(&[n, d], 1..2)],
            (Wrt::Logits, None) => {
                let (first, others) = self.lead.split_at(1);
                let axes = self.lead.len();
                vec![
                    Layout::new(&[self.lead.as_slice(), &[k]].concat(), axes..axes + 1),
                    Layout::new(&[n, k], 1..2),
                    Layout::new(&[first, &[k], others].concat(), 1..2),
                ]
            }
        }
    }
}
