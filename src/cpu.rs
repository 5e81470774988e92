//! The CPU engine: the twin of every kernel, one file each, in f64 (or f32, to show what f32 does).
//! A kernel is a plain loop over a block of rows; this file strings them together, rows in parallel.

use std::ops::Range;

use rayon::prelude::*;

use difference::{Growth, growth};

use crate::{
    loss::Samples,
    plan::{Evaluation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Real,
};

pub mod difference;
pub mod difference_weight;
pub mod logits;
pub mod loss;
pub mod matmul;
pub mod outer;
mod parameters;
pub mod perturb;
pub mod residual;

/// Rows that a thread takes at a time: enough to amortise the block's own vectors, few enough that a block of
/// 1,000 columns stays in the second-level cache.
const BLOCK_ROWS: usize = 16;

/// Partial sums that run side by side: two vectors of AVX-512 in f64. They also shorten the chain of additions,
/// and with it the rounding error, 16 times.
const LANES: usize = 16;

/// The operands that do not depend on the rows, in the arithmetic of the plan.
struct Operands<T> {
    weight: Vec<T>,
    bias: Vec<T>,
    /// Of `difference` with respect to the input, one a step.
    growths: Vec<Growth<T>>,
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
                    .map(|step| Growth::new(growth(&slopes, step), T::of(step)))
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
    ///
    /// With respect to a parameter, what these rows add to it: sums over them, [k·m].
    pub fn evaluate(&self, rows: Range<usize>) -> Evaluation {
        if self.plan.wrt.is_parameter() {
            return match &self.arithmetic {
                Arithmetic::F32(operands) => self.evaluate_parameters(operands, rows),
                Arithmetic::F64(operands) => self.evaluate_parameters(operands, rows),
            };
        }
        self.blocks(rows, |rows| self.evaluate_rows(rows))
            .into_iter()
            .reduce(Evaluation::append)
            .unwrap_or_default()
    }

    /// The same of a few rows, on this thread; not for a parameter.
    pub fn evaluate_rows(&self, rows: Range<usize>) -> Evaluation {
        let columns = 0..self.problem.columns(self.plan.wrt);
        match &self.arithmetic {
            Arithmetic::F32(operands) => self.evaluate_block(operands, rows, columns),
            Arithmetic::F64(operands) => self.evaluate_block(operands, rows, columns),
        }
    }

    /// The same for one entry alone: vectors of one element.
    pub fn evaluate_entry(&self, row: usize, column: usize) -> Evaluation {
        if self.plan.wrt.is_parameter() {
            let entry = row * self.problem.columns(self.plan.wrt) + column;
            return match &self.arithmetic {
                Arithmetic::F32(operands) => self.evaluate_parameter(operands, entry),
                Arithmetic::F64(operands) => self.evaluate_parameter(operands, entry),
            };
        }
        let (rows, columns) = (row..row + 1, column..column + 1);
        match &self.arithmetic {
            Arithmetic::F32(operands) => self.evaluate_block(operands, rows, columns),
            Arithmetic::F64(operands) => self.evaluate_block(operands, rows, columns),
        }
    }

    /// The gradient of a range of rows by the chain rule, [rows·m].
    ///
    /// With respect to a parameter, what these rows add to it.
    pub fn backward(&self, rows: Range<usize>) -> Vec<f64> {
        if self.plan.wrt.is_parameter() {
            return match &self.arithmetic {
                Arithmetic::F32(operands) => self.backward_parameters(operands, rows),
                Arithmetic::F64(operands) => self.backward_parameters(operands, rows),
            };
        }
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
        let d = self.problem.d();
        let m = self.problem.columns(self.plan.wrt);
        let samples: Samples<T> = self.problem.samples(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows);
        let forward = self.forward(operands, &input, &samples);
        let conditioning = match self.plan.wrt {
            Wrt::Input => matmul::matmul(&forward.conditioning, &operands.weight_abs, d),
            _ => forward.conditioning,
        };
        let losses = match self.plan.method {
            Method::Difference => self.differences(operands, &forward.residual, &samples),
            Method::ForwardPass => {
                let perturbed = if self.plan.wrt == Wrt::Input {
                    &input
                } else {
                    &forward.logits
                };
                self.forward_passes(operands, perturbed, &samples, columns.clone())
            }
        };
        let base = match (self.plan.method, self.plan.wrt) {
            (Method::Difference, _) => Vec::new(),
            (Method::ForwardPass, Wrt::Input) => input,
            (Method::ForwardPass, _) => forward.logits,
        };
        let bounds = T::widen(forward.bounds);
        let (bounds, _) = bounds.as_chunks::<2>();
        let of_columns = |losses: Vec<T>| match self.plan.method {
            Method::Difference => select(losses, m, &columns),
            Method::ForwardPass => losses,
        };
        Evaluation {
            losses: losses.into_iter().map(of_columns).map(T::widen).collect(),
            base: T::widen(select(base, m, &columns)),
            conditioning: T::widen(select(conditioning, m, &columns)),
            magnitude: bounds.iter().map(|[magnitude, _]| *magnitude).collect(),
            totals: T::widen(samples.totals),
            moved: bounds.iter().map(|[_, moved]| *moved).collect(),
        }
    }

    /// A vector [rows·m] a step.
    fn differences<T: Real>(
        &self,
        operands: &Operands<T>,
        residual: &[T],
        samples: &Samples<T>,
    ) -> Vec<Vec<T>> {
        let (d, k) = (self.problem.d(), self.problem.k());
        match self.plan.wrt {
            Wrt::Input => {
                let linear = samples
                    .linear
                    .as_ref()
                    .map(|linear| matmul::matmul(linear, &operands.weight, d));
                let difference = |growth| {
                    difference::difference(residual, growth, samples, linear.as_deref(), d)
                };
                operands.growths.iter().map(difference).collect()
            }
            _ => {
                let difference = |step: f64| {
                    let growth = T::of(step.exp_m1() / step);
                    difference::difference_logits(residual, growth, T::of(step), samples, k)
                };
                self.plan.steps().map(difference).collect()
            }
        }
    }

    /// A vector [rows·columns] a step: the loss of each row with one of its columns moved.
    fn forward_passes<T: Real>(
        &self,
        operands: &Operands<T>,
        perturbed: &[T],
        samples: &Samples<T>,
        columns: Range<usize>,
    ) -> Vec<Vec<T>> {
        let (d, k) = (self.problem.d(), self.problem.k());
        let m = self.problem.columns(self.plan.wrt);
        let at = |step: f64| {
            let of_row = |(row, values): (usize, &[T])| {
                let copies = perturb::perturb(values, T::of(step), columns.clone());
                let logits = match self.plan.wrt {
                    Wrt::Input => {
                        logits::logits(&copies, &operands.weight, &operands.bias, d).logits
                    }
                    _ => copies,
                };
                loss::loss(&logits, samples, row * columns.len(), columns.len(), k)
            };
            perturbed
                .chunks_exact(m)
                .enumerate()
                .flat_map(of_row)
                .collect()
        };
        self.plan.steps().map(at).collect()
    }

    fn backward_block<T: Real>(&self, operands: &Operands<T>, rows: Range<usize>) -> Vec<f64> {
        let samples: Samples<T> = self.problem.samples(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows);
        let normalizer = T::of(self.problem.normalizer());
        let gradient = self.forward(operands, &input, &samples).gradient;
        let gradient: Vec<T> = gradient.into_iter().map(|g| g / normalizer).collect();
        T::widen(match self.plan.wrt {
            Wrt::Input => matmul::matmul(&gradient, &operands.weight, self.problem.d()),
            _ => gradient,
        })
    }

    fn forward<T: Real>(
        &self,
        operands: &Operands<T>,
        input: &[T],
        samples: &Samples<T>,
    ) -> Forward<T> {
        let logits::Logits { logits, magnitude } =
            logits::logits(input, &operands.weight, &operands.bias, self.problem.d());
        let residual::Residual {
            residual,
            gradient,
            conditioning,
            bounds,
        } = residual::residual(
            &logits,
            &magnitude,
            samples,
            self.plan.law,
            self.problem.k(),
        );
        Forward {
            logits,
            residual,
            gradient,
            conditioning,
            bounds,
        }
    }
}

/// What the forward pass leaves for the rows of a block, each [rows, k] but for the last, [rows, 2].
struct Forward<T> {
    logits: Vec<T>,
    residual: Vec<T>,
    gradient: Vec<T>,
    conditioning: Vec<T>,
    bounds: Vec<T>,
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
        self.totals.extend(next.totals);
        self.moved.extend(next.moved);
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

/// Runs a kernel's loops with the widest vectors that the processor has.
pub(crate) fn simd<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// The sum of the lanes.
#[inline(always)]
fn pairwise<T: Real>(mut sums: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            let other = sums[lane + half];
            sums[lane] += other;
        }
        half /= 2;
    }
    sums[0]
}

/// The sum of values, in lanes.
fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    let mut sums = [T::zero(); LANES];
    for (i, value) in values.enumerate() {
        sums[i % LANES] += value;
    }
    pairwise(sums)
}
