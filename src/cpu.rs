//! The CPU engine: the twin of every kernel, one file each, in f64 (or f32, to show what f32 does).
//! A kernel is a plain loop over a block of rows; this file strings them together, rows in parallel.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    plan::{Evaluation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Real,
};

pub mod difference;
pub mod logits;
pub mod loss;
pub mod matmul;
pub mod perturb;
pub mod residual;

/// Rows that a thread takes at a time: enough to amortise the block's own vectors, few enough that a block of
/// 1,000 columns stays in the second-level cache.
const BLOCK_ROWS: usize = 16;

/// The operands that do not depend on the rows, in the arithmetic of the plan.
struct Operands<T> {
    weight: Vec<T>,
    bias: Vec<T>,
    /// Of `difference` with respect to the input: expm1(step·W)/step, [k, d] a step.
    growths: Vec<Vec<T>>,
    /// |W|, [k, d].
    weight_abs: Vec<T>,
}

impl<T: Real> Operands<T> {
    fn new(problem: &Problem, plan: &Plan) -> Self {
        let weight: Vec<T> = problem.weight().values();
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().values();
                plan.steps()
                    .map(|step| difference::growth(&slopes, step))
                    .collect()
            }
            _ => Vec::new(),
        };
        let weight_abs = weight.iter().map(|w| w.abs()).collect();
        Self {
            bias: problem.bias(),
            growths,
            weight_abs,
            weight,
        }
    }
}

enum Arithmetic {
    F32(Operands<f32>),
    F64(Operands<f64>),
}

/// The engine for one problem and one plan.
pub struct Cpu<'a> {
    problem: &'a Problem,
    plan: Plan,
    arithmetic: Arithmetic,
}

impl<'a> Cpu<'a> {
    /// Prepares what does not depend on the rows.
    pub fn new(problem: &'a Problem, plan: Plan) -> Self {
        let arithmetic = match plan.precision {
            Precision::F32 => Arithmetic::F32(Operands::new(problem, &plan)),
            Precision::F64 => Arithmetic::F64(Operands::new(problem, &plan)),
        };
        Self {
            problem,
            plan,
            arithmetic,
        }
    }

    /// The losses, or loss differences, of a range of rows, and how well they are conditioned.
    pub fn evaluate(&self, rows: Range<usize>) -> Evaluation {
        let columns = 0..self.problem.columns(self.plan.wrt);
        let blocks = match &self.arithmetic {
            Arithmetic::F32(operands) => self.blocks(rows, |rows| {
                self.evaluate_block(operands, rows, columns.clone())
            }),
            Arithmetic::F64(operands) => self.blocks(rows, |rows| {
                self.evaluate_block(operands, rows, columns.clone())
            }),
        };
        blocks
            .into_iter()
            .reduce(Evaluation::append)
            .unwrap_or_default()
    }

    /// The same for one entry alone: vectors of one element.
    pub fn evaluate_entry(&self, row: usize, column: usize) -> Evaluation {
        let (rows, columns) = (row..row + 1, column..column + 1);
        match &self.arithmetic {
            Arithmetic::F32(operands) => self.evaluate_block(operands, rows, columns),
            Arithmetic::F64(operands) => self.evaluate_block(operands, rows, columns),
        }
    }

    /// The gradient of a range of rows by the chain rule, [rows·m].
    pub fn backward(&self, rows: Range<usize>) -> Vec<f64> {
        match &self.arithmetic {
            Arithmetic::F32(operands) => {
                self.blocks(rows, |block| self.backward_block(operands, block))
            }
            Arithmetic::F64(operands) => {
                self.blocks(rows, |block| self.backward_block(operands, block))
            }
        }
        .concat()
    }

    fn blocks<R: Send>(
        &self,
        rows: Range<usize>,
        work: impl Fn(Range<usize>) -> R + Sync,
    ) -> Vec<R> {
        let starts = rows.clone().into_par_iter().step_by(BLOCK_ROWS);
        starts
            .map(|start| work(start..rows.end.min(start + BLOCK_ROWS)))
            .collect()
    }

    fn evaluate_block<T: Real>(
        &self,
        operands: &Operands<T>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Evaluation {
        let (d, k) = (self.problem.d(), self.problem.k());
        let target = self.problem.target(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows);
        let forward = self.forward(operands, &input, target);
        let conditioning = match self.plan.wrt {
            Wrt::Input => matmul::matmul(&forward.conditioning, &operands.weight_abs, d),
            Wrt::Logits => forward.conditioning,
        };
        let perturbed = match self.plan.wrt {
            Wrt::Input => input,
            Wrt::Logits => forward.logits,
        };
        let m = self.problem.columns(self.plan.wrt);
        let forward_pass = |step| {
            let of_row = |(row, &class): (&[T], &u32)| {
                let copies = perturb::perturb(row, T::of(step), columns.clone());
                let logits = match self.plan.wrt {
                    Wrt::Input => {
                        logits::logits(&copies, &operands.weight, &operands.bias, d).logits
                    }
                    Wrt::Logits => copies,
                };
                loss::loss(&logits, &vec![class; columns.len()], k)
            };
            perturbed
                .chunks_exact(m)
                .zip(target)
                .flat_map(of_row)
                .collect()
        };
        let losses: Vec<Vec<T>> = match (self.plan.method, self.plan.wrt) {
            (Method::ForwardPass, _) => self.plan.steps().map(forward_pass).collect(),
            (Method::Difference, Wrt::Input) => {
                let difference = |(growth, step): (&Vec<T>, f64)| {
                    let all =
                        difference::difference(&forward.residual, growth, T::of(step), target, d);
                    select(all, m, &columns)
                };
                operands
                    .growths
                    .iter()
                    .zip(self.plan.steps())
                    .map(difference)
                    .collect()
            }
            (Method::Difference, Wrt::Logits) => {
                let difference = |step: f64| {
                    let (growth, step) = (T::of(step.exp_m1() / step), T::of(step));
                    let all =
                        difference::difference_logits(&forward.residual, growth, step, target, k);
                    select(all, m, &columns)
                };
                self.plan.steps().map(difference).collect()
            }
        };
        let base = match self.plan.method {
            Method::ForwardPass => perturbed,
            Method::Difference => Vec::new(),
        };
        Evaluation {
            losses: losses.into_iter().map(widen).collect(),
            base: widen(select(base, m, &columns)),
            conditioning: widen(select(conditioning, m, &columns)),
            magnitude: forward.magnitude.chunks_exact(k).map(largest).collect(),
        }
    }

    fn backward_block<T: Real>(&self, operands: &Operands<T>, rows: Range<usize>) -> Vec<f64> {
        let target = self.problem.target(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows);
        let normalizer = T::of(self.problem.normalizer());
        let residual = self.forward(operands, &input, target).residual;
        let residual: Vec<T> = residual.into_iter().map(|r| r / normalizer).collect();
        widen(match self.plan.wrt {
            Wrt::Input => matmul::matmul(&residual, &operands.weight, self.problem.d()),
            Wrt::Logits => residual,
        })
    }

    fn forward<T: Real>(&self, operands: &Operands<T>, input: &[T], target: &[u32]) -> Forward<T> {
        let logits::Logits { logits, magnitude } =
            logits::logits(input, &operands.weight, &operands.bias, self.problem.d());
        let residual::Residual {
            residual,
            conditioning,
        } = residual::residual(&logits, &magnitude, target, self.problem.k());
        Forward {
            logits,
            magnitude,
            residual,
            conditioning,
        }
    }
}

/// What the forward pass leaves for the rows of a block, each [rows, k].
struct Forward<T> {
    logits: Vec<T>,
    magnitude: Vec<T>,
    residual: Vec<T>,
    conditioning: Vec<T>,
}

impl Evaluation {
    /// The evaluation of these rows and then of `next`'s.
    fn append(mut self, next: Self) -> Self {
        for (losses, next) in self.losses.iter_mut().zip(next.losses) {
            losses.extend(next);
        }
        self.base.extend(next.base);
        self.conditioning.extend(next.conditioning);
        self.magnitude.extend(next.magnitude);
        self
    }
}

/// The given columns of `values` [rows, m].
fn select<T: Copy>(values: Vec<T>, m: usize, columns: &Range<usize>) -> Vec<T> {
    if columns.len() == m {
        return values;
    }
    values
        .chunks_exact(m)
        .flat_map(|row| &row[columns.clone()])
        .copied()
        .collect()
}

fn widen<T: Real>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Real::f64).collect()
}

fn largest<T: Real>(values: &[T]) -> f64 {
    values.iter().fold(0.0, |largest, v| v.f64().max(largest))
}

/// Runs a kernel's loops with the widest vectors that the processor has.
pub(crate) fn simd<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}
