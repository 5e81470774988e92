//! The CPU engine: evaluates the rows of a plan in f64, or in f32 to show the rounding errors of
//! f32.
//!
//! Each kernel has its own file, with plain loops over a block of rows. It is the twin of the
//! shader of the same name. `Kernels` runs the kernels in order for one block, and [`Cpu`] runs the
//! blocks in parallel.

use std::ops::Range;

use rayon::prelude::*;

pub(crate) use engine::CpuEngine;
pub(crate) use lanes::{larger, simd};

use kernels::Kernels;
use ordered::{PARTS, fold_parts_of};

use crate::{
    engine::Evaluation, plan::Plan, problem::Problem, rounding::ENGINE_CHAIN, scheme::Precision,
};

pub mod compare;
pub mod difference;
pub mod difference_weight;
mod engine;
mod kernels;
mod lanes;
pub mod logits;
pub mod loss;
pub mod matmul;
pub(crate) mod ordered;
pub mod outer;
mod parameters;
pub mod perturb;
pub mod residual;
mod series;

/// Rows that a thread evaluates at a time. Chosen: enough to amortize the vectors of a block, and
/// few enough that a block of 1,000 columns stays in the second-level cache.
const ROWS_PER_TASK: usize = 16;

/// The kernels in the arithmetic of a plan. Implemented by [`Kernels`] for f32 and f64.
trait Arithmetic: Send + Sync {
    /// Overwrites `evaluation` with the given entries of some rows.
    ///
    /// With respect to input or logits, `entries` are columns of the rows. With respect to a
    /// parameter, they are entries of its gradient [k·m], and the evaluation is the sum over the
    /// rows.
    fn evaluate(&self, rows: Range<usize>, entries: Range<usize>, evaluation: &mut Evaluation);

    /// Computes the gradient of some rows by the chain rule, [rows·m]. With respect to a parameter,
    /// returns the sum over the rows, [k·m].
    fn backward(&self, rows: Range<usize>) -> Vec<f64>;
}

/// The CPU's evaluation of one plan for one problem.
pub struct Cpu<'a> {
    problem: &'a Problem,
    plan: Plan,
    arithmetic: Box<dyn Arithmetic + 'a>,
}

impl<'a> Cpu<'a> {
    /// Prepares the operands that all rows share.
    pub fn new(problem: &'a Problem, plan: Plan) -> Self {
        let arithmetic: Box<dyn Arithmetic + 'a> = match plan.precision {
            Precision::F32 => Box::new(Kernels::<f32>::new(problem, plan)),
            Precision::F64 => Box::new(Kernels::<f64>::new(problem, plan)),
        };
        Self {
            problem,
            plan,
            arithmetic,
        }
    }

    /// Evaluates a range of rows. With respect to a parameter, returns the sum over the rows,
    /// [k·m].
    pub fn evaluate(&self, rows: Range<usize>) -> Evaluation {
        let entries = self.entries();
        if self.plan.wrt.is_parameter() {
            return self.evaluate_sum(rows, entries);
        }
        let block = |rows| self.evaluate_entries(rows, entries.clone());
        blocks(rows, block)
            .into_iter()
            .reduce(Evaluation::append_rows)
            .unwrap_or_default()
    }

    /// Evaluates a few rows on the calling thread and writes the result to `evaluation`. Does not
    /// support parameters.
    pub fn evaluate_rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        self.arithmetic.evaluate(rows, self.entries(), evaluation);
    }

    /// Evaluates one row in `parts` parts, one on each thread at a time. Before each round of
    /// parts, calls `keep_going` with the fraction done. Returns `None` if `keep_going` returns
    /// false.
    pub fn evaluate_long_row(
        &self,
        row: usize,
        parts: usize,
        keep_going: &mut dyn FnMut(f64) -> bool,
    ) -> Option<Evaluation> {
        let all = self.entries().end;
        let length = all.div_ceil(parts);
        let starts: Vec<usize> = (0..all).step_by(length).collect();
        let part =
            |&start: &usize| self.evaluate_entries(row..row + 1, start..all.min(start + length));
        let mut evaluation: Option<Evaluation> = None;
        for starts in starts.chunks(rayon::current_num_threads()) {
            if !keep_going(starts[0] as f64 / all as f64) {
                return None;
            }
            let parts: Vec<Evaluation> = starts.par_iter().map(part).collect();
            let all = evaluation.into_iter().chain(parts);
            evaluation = all.reduce(Evaluation::append_entries);
        }
        evaluation
    }

    /// Evaluates one entry of the gradient. Its vectors have one element each.
    pub fn evaluate_entry(&self, row: usize, column: usize) -> Evaluation {
        if self.plan.wrt.is_parameter() {
            let entry = row * self.problem.columns(self.plan.wrt) + column;
            let sum = self.evaluate_sum(0..self.problem.n(), entry..entry + 1);
            return sum.of_row(row);
        }
        self.evaluate_entries(row..row + 1, column..column + 1)
    }

    /// Computes the gradient of a range of rows by the chain rule, [rows·m]. With respect to a
    /// parameter, returns the sum over the rows, [k·m].
    pub fn backward(&self, rows: Range<usize>) -> Vec<f64> {
        let block = |rows| self.arithmetic.backward(rows);
        if self.plan.wrt.is_parameter() {
            let add = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect();
            let length = rows.len().div_ceil(PARTS);
            return sum_of_parts(rows, length, block, add);
        }
        blocks(rows, block).concat()
    }

    /// Returns all entries of a row, or of the gradient with respect to a parameter.
    fn entries(&self) -> Range<usize> {
        let columns = self.problem.columns(self.plan.wrt);
        if self.plan.wrt.is_parameter() {
            0..self.problem.k() * columns
        } else {
            0..columns
        }
    }

    fn evaluate_entries(&self, rows: Range<usize>, entries: Range<usize>) -> Evaluation {
        let mut evaluation = Evaluation::default();
        self.arithmetic.evaluate(rows, entries, &mut evaluation);
        evaluation
    }

    /// Sums entries of the gradient with respect to a parameter over the rows. The parts are short,
    /// because short chains of additions round less, and the partial sums show how large a sum
    /// becomes on the way.
    fn evaluate_sum(&self, rows: Range<usize>, entries: Range<usize>) -> Evaluation {
        let part = |rows| self.evaluate_entries(rows, entries.clone());
        let length = rows.len().div_ceil(PARTS).min(ENGINE_CHAIN);
        sum_of_parts(rows, length, part, Evaluation::add)
    }
}

/// Runs `work` for blocks of rows in parallel.
fn blocks<R: Send>(rows: Range<usize>, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let starts = rows.clone().into_par_iter().step_by(ROWS_PER_TASK);
    starts
        .map(|start| work(start..rows.end.min(start + ROWS_PER_TASK)))
        .collect()
}

/// Splits the rows into parts of `length`, and adds up the results of `part` in order.
fn sum_of_parts<S: Send + Default>(
    rows: Range<usize>,
    length: usize,
    part: impl Fn(Range<usize>) -> S + Sync,
    add: impl Fn(S, S) -> S,
) -> S {
    let add = |sum, part| {
        Some(match sum {
            Some(sum) => add(sum, part),
            None => part,
        })
    };
    fold_parts_of(rows, length, part, None, add).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        loss::CrossEntropy, plan::Differentiation, problem::Wrt, scheme::Method, tensor::Tensor,
    };

    #[test]
    fn a_row_in_parts_equals_the_row_at_once_unless_it_is_stopped() {
        let value = |i: usize| ((i * i) as f64 * 0.7).sin();
        let tensor = |shape: &[usize]| {
            let values: Vec<f64> = (0..shape.iter().product()).map(value).collect();
            Tensor::from_f64(shape, &values)
        };
        let target = Tensor::from_classes(&[1, 3]);
        let (input, weight) = (tensor(&[2, 7]), tensor(&[5, 7]));
        let loss = CrossEntropy::default();
        let problem = Problem::new(input, weight, None, &target, loss).unwrap();
        for wrt in Wrt::ALL {
            for method in [Method::Difference, Method::ForwardPass] {
                let derivative = Differentiation::from(wrt).by(method);
                let plan = Plan::new(&problem, derivative, None, Precision::F64);
                let cpu = Cpu::new(&problem, plan);
                let mut shares = Vec::new();
                let mut all = |share| {
                    shares.push(share);
                    true
                };
                let row = cpu.evaluate_long_row(1, 3, &mut all);
                assert_eq!(row, Some(cpu.evaluate(1..2)), "{wrt:?} {method:?}");
                assert!(shares.is_sorted() && shares[0] == 0.0);
                assert_eq!(cpu.evaluate_long_row(1, 3, &mut |_| false), None);
            }
        }
    }
}
