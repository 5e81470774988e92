//! The CPU engine: the twin of every kernel, one file each, in f64 (or f32, to show what f32 does).
//! A kernel is a plain loop over a block of rows; this file strings them together, rows in parallel.

use std::ops::Range;

use rayon::prelude::*;

pub(crate) use engine::{CpuEngine, rows_per_call};

use difference::Growths;
use matmul::Packed;

use crate::{
    loss::TargetRows,
    plan::{Evaluation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Real,
};

pub mod compare;
pub mod difference;
pub mod difference_weight;
mod engine;
pub mod logits;
pub mod loss;
pub mod matmul;
pub(crate) mod ordered;
pub mod outer;
pub(crate) mod parameters;
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
    /// Of `difference` with respect to the input.
    growths: Option<Growths<T>>,
    /// The weight again, as the matrix products read it.
    packed: Packed<T, 1>,
}

impl<T: Real> Operands<T> {
    fn new(problem: &Problem, plan: &Plan) -> Self {
        let weight: Vec<T> = problem.weight().values();
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().values();
                let steps: Vec<(f64, f64)> = plan.quotients().collect();
                Some(Growths::new(&slopes, problem.d(), &steps))
            }
            _ => None,
        };
        Self {
            bias: problem.bias(),
            growths,
            packed: Packed::new([&weight], problem.d()),
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
        let of_block = |rows| {
            let mut evaluation = Evaluation::default();
            self.evaluate_rows(rows, &mut evaluation);
            evaluation
        };
        self.blocks(rows, of_block)
            .into_iter()
            .reduce(Evaluation::append)
            .unwrap_or_default()
    }

    /// The same of a few rows, on this thread, into `evaluation`, whatever that held; not for a parameter.
    pub fn evaluate_rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        let columns = 0..self.problem.columns(self.plan.wrt);
        match &self.arithmetic {
            Arithmetic::F32(operands) => self.evaluate_block(operands, rows, columns, evaluation),
            Arithmetic::F64(operands) => self.evaluate_block(operands, rows, columns, evaluation),
        }
    }

    /// The same of one row, cut into so many parts, of which each thread takes one at a time; before that `goes_on` is told the share that
    /// is done. None if it does not go on.
    pub fn evaluate_long_row(
        &self,
        row: usize,
        parts: usize,
        goes_on: &mut dyn FnMut(f64) -> bool,
    ) -> Option<Evaluation> {
        let m = self.problem.columns(self.plan.wrt);
        let all = if self.plan.wrt.is_parameter() {
            self.problem.k() * m
        } else {
            m
        };
        let entries = all.div_ceil(parts);
        let starts: Vec<usize> = (0..all).step_by(entries).collect();
        let part =
            |&start: &usize| self.evaluate_part(row..row + 1, start..all.min(start + entries));
        let mut evaluation = Evaluation::default();
        for starts in starts.chunks(rayon::current_num_threads()) {
            if !goes_on(starts[0] as f64 / all as f64) {
                return None;
            }
            let parts: Vec<Evaluation> = starts.par_iter().map(part).collect();
            for part in parts {
                evaluation.append_entries(part);
            }
        }
        Some(evaluation)
    }

    /// Some entries of these rows; with respect to a parameter, what the rows add to some of all its entries.
    fn evaluate_part(&self, rows: Range<usize>, entries: Range<usize>) -> Evaluation {
        match &self.arithmetic {
            Arithmetic::F32(operands) => self.part(operands, rows, entries),
            Arithmetic::F64(operands) => self.part(operands, rows, entries),
        }
    }

    fn part<T: Real>(
        &self,
        operands: &Operands<T>,
        rows: Range<usize>,
        entries: Range<usize>,
    ) -> Evaluation {
        if self.plan.wrt.is_parameter() {
            return self.parameters_part(operands, rows, entries);
        }
        let mut evaluation = Evaluation::default();
        self.evaluate_block(operands, rows, entries, &mut evaluation);
        evaluation
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
        self.evaluate_part(row..row + 1, column..column + 1)
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
        evaluation: &mut Evaluation,
    ) {
        let (k, m) = (self.problem.k(), self.problem.columns(self.plan.wrt));
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let mut input = T::reuse(&mut evaluation.base);
        self.problem.input().read(rows, &mut input);
        let forward = self.forward(operands, &input, &targets);
        let of_columns = |values| T::widen(select(values, m, &columns));

        let mut derivative = T::reuse(&mut evaluation.derivative);
        match (self.plan.method, &operands.growths) {
            (Method::Difference, Some(growths)) => {
                let linear = targets.linear.as_ref();
                let linear = linear.map(|linear| {
                    let mut product = Vec::new();
                    matmul::matmul_into(&mut product, linear, &operands.packed);
                    product
                });
                let (residual, linear) = (&forward.residual, linear.as_deref());
                difference::difference(&mut derivative, residual, growths, &targets, linear);
            }
            (Method::Difference, None) => {
                let steps: Vec<(f64, f64)> = self.plan.quotients().collect();
                derivative = difference::difference_logits(&forward.residual, &steps, &targets, k);
            }
            (Method::ForwardPass, _) => {
                let perturbed = match self.plan.wrt {
                    Wrt::Input => &input,
                    _ => &forward.logits,
                };
                let losses = self.forward_passes(operands, perturbed, &targets, columns.clone());
                evaluation.losses = losses.into_iter().map(T::widen).collect();
            }
        }
        evaluation.derivative = of_columns(derivative);
        evaluation.conditioning = of_columns(match self.plan.wrt {
            Wrt::Input => {
                let mut product = T::reuse(&mut evaluation.conditioning);
                let weights = &forward.conditioning;
                matmul::matmul_magnitudes(&mut product, weights, &operands.packed);
                product
            }
            _ => forward.conditioning,
        });
        evaluation.base = of_columns(match self.plan.wrt {
            Wrt::Input => input,
            _ => forward.logits,
        });
        let bounds = T::widen(forward.bounds);
        let (bounds, _) = bounds.as_chunks::<2>();
        evaluation.magnitude = bounds.iter().map(|[magnitude, _]| *magnitude).collect();
        evaluation.moved = bounds.iter().map(|[_, moved]| *moved).collect();
        evaluation.totals = T::widen(targets.totals);
    }

    /// A vector [rows·columns] a step: the loss of each row with one of its columns moved.
    fn forward_passes<T: Real>(
        &self,
        operands: &Operands<T>,
        perturbed: &[T],
        targets: &TargetRows<T>,
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
                loss::loss(&logits, targets, row * columns.len(), columns.len(), k)
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
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let input: Vec<T> = self.problem.input().rows(rows);
        let normalizer = T::of(self.problem.normalizer());
        let gradient = self.forward(operands, &input, &targets).gradient;
        let gradient: Vec<T> = gradient.into_iter().map(|g| g / normalizer).collect();
        T::widen(match self.plan.wrt {
            Wrt::Input => {
                let mut product = Vec::new();
                matmul::matmul_into(&mut product, &gradient, &operands.packed);
                product
            }
            _ => gradient,
        })
    }

    fn forward<T: Real>(
        &self,
        operands: &Operands<T>,
        input: &[T],
        targets: &TargetRows<T>,
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
            targets,
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
    fn append(mut self, mut next: Self) -> Self {
        let of_rows =
            |it: &mut Self| [&mut it.magnitude, &mut it.totals, &mut it.moved].map(std::mem::take);
        let (mut before, after) = (of_rows(&mut self), of_rows(&mut next));
        self.append_entries(next);
        before
            .iter_mut()
            .zip(after)
            .for_each(|(before, after)| before.extend(after));
        [self.magnitude, self.totals, self.moved] = before;
        self
    }

    /// The evaluation of these entries and then of `next`'s, of the same rows.
    fn append_entries(&mut self, next: Self) {
        self.losses.resize(next.losses.len(), Vec::new());
        for (losses, next) in self.losses.iter_mut().zip(next.losses) {
            losses.extend(next);
        }
        self.derivative.extend(next.derivative);
        self.base.extend(next.base);
        self.conditioning.extend(next.conditioning);
        self.magnitude = next.magnitude;
        self.totals = next.totals;
        self.moved = next.moved;
    }
}

/// The given columns of `values` [rows, m].
fn select<T: Copy>(values: Vec<T>, m: usize, columns: &Range<usize>) -> Vec<T> {
    if columns.len() == m || values.is_empty() {
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

/// Whether those are 32 vectors of 8 f64 values, not 16 of 4.
pub(crate) fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(pulp::Arch::new(), pulp::x86::Arch::V4(_));
    #[cfg(not(target_arch = "x86_64"))]
    return false;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        loss::CrossEntropy,
        scheme::Scheme,
        tensor::{Dtype, Tensor},
    };

    /// In parts a row is what it is at once, unless nobody wants the rest.
    #[test]
    fn a_long_row_is_the_sum_of_its_parts() {
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
                let (f64, scheme) = (Precision::F64, Scheme::Central);
                let plan = Plan::new(&problem, wrt, method, scheme, None, f64, Dtype::F64);
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
