//! Runs the kernels of one plan, in order, for a block of rows.

use std::ops::Range;

use super::{
    Arithmetic,
    difference::{Growths, difference, difference_logits},
    logits::{self, logits},
    loss::loss,
    matmul::{Packed, matmul_into, matmul_magnitudes},
    perturb::perturb,
    residual::{self, residual},
};
use crate::{
    engine::{Evaluation, Losses, Values},
    loss::TargetRows,
    plan::Plan,
    problem::{Problem, Wrt},
    rounding::RoundingModel,
    scheme::Method,
    tensor::Real,
};

/// A plan with the operands that all rows share, in one arithmetic.
pub(super) struct Kernels<'a, T> {
    pub(super) problem: &'a Problem,
    pub(super) plan: Plan,
    /// The weight W, [k, d].
    pub(super) weight: Vec<T>,
    /// The bias b, `[k]`.
    pub(super) bias: Vec<T>,
    /// W in the layout of the matrix products, with respect to the input.
    packed: Option<Packed<T, 1>>,
    /// Tables of `difference` with respect to the input.
    growths: Option<Growths<T>>,
}

/// Results of the forward pass for a block of rows.
pub(super) struct Forward<T> {
    /// The logits z, [rows, k].
    pub(super) logits: Vec<T>,
    pub(super) softmax: residual::Residual<T>,
}

impl<'a, T: Real> Kernels<'a, T> {
    pub(super) fn new(problem: &'a Problem, plan: Plan) -> Self {
        let weight: Vec<T> = problem.weight_values();
        let packed = (plan.wrt == Wrt::Input).then(|| Packed::new([&weight], problem.d()));
        let growths = match (plan.method, plan.wrt) {
            (Method::Difference, Wrt::Input) => {
                let slopes: Vec<f64> = problem.weight().values();
                let steps: Vec<(f64, f64)> = plan.quotients().collect();
                Some(Growths::new(&slopes, problem.d(), &steps))
            }
            _ => None,
        };
        Self {
            problem,
            plan,
            bias: problem.bias(),
            packed,
            weight,
            growths,
        }
    }

    /// Computes logits, residual and conditioning weights of a block of rows of the input, or of
    /// given logits, which are exact.
    pub(super) fn forward(&self, samples: &[T], targets: &TargetRows<T>) -> Forward<T> {
        let logits::Logits { logits, magnitude } = if self.problem.is_of_logits() {
            logits::given(samples)
        } else {
            logits(samples, &self.weight, &self.bias, self.problem.d())
        };
        let model = RoundingModel::of_gradient(self.problem, &self.plan);
        let softmax = residual(&logits, &magnitude, targets, model, self.problem.k());
        Forward { logits, softmax }
    }

    /// Computes the gradient with respect to the logits of a block of rows by the chain rule,
    /// [rows, k].
    pub(super) fn backward_logits(&self, input: &[T], targets: &TargetRows<T>) -> Vec<T> {
        let normalizer = T::of(self.problem.normalizer());
        let gradient = self.forward(input, targets).softmax.gradient;
        gradient.into_iter().map(|g| g / normalizer).collect()
    }

    /// Evaluates some columns of a block of rows. Reuses the memory of `evaluation`.
    fn evaluate_rows(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        evaluation: &mut Evaluation,
    ) {
        let m = self.problem.columns(self.plan.wrt);
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let mut input = T::reuse(&mut evaluation.spare.0);
        self.problem.samples().read(rows, &mut input);
        let Forward { logits, softmax } = self.forward(&input, &targets);
        let (base, conditioning) = match self.plan.wrt {
            Wrt::Input => {
                let mut product = T::reuse(&mut evaluation.bounds.conditioning);
                matmul_magnitudes(&mut product, &softmax.conditioning, self.packed());
                (input, product)
            }
            _ => (logits, softmax.conditioning),
        };
        let select = |values| T::widen(select(values, m, &columns));
        evaluation.values = match self.plan.method {
            Method::Difference => {
                let mut derivative = T::reuse(evaluation.values.derivative_mut());
                self.derivative(&mut derivative, &softmax.residual, &targets);
                evaluation.spare.0 = T::widen(base);
                Values::Derivative(select(derivative))
            }
            Method::ForwardPass => {
                let losses = self.forward_passes(&base, &targets, columns.clone());
                Values::Losses(Losses {
                    at_steps: losses.into_iter().map(T::widen).collect(),
                    dropped: Vec::new(),
                    base: select(base),
                })
            }
        };
        let of_rows = T::widen(softmax.bounds);
        let (of_rows, _) = of_rows.as_chunks::<2>();
        let bounds = &mut evaluation.bounds;
        bounds.conditioning = select(conditioning);
        bounds.magnitude = of_rows.iter().map(|[magnitude, _]| *magnitude).collect();
        bounds.logit_error = of_rows.iter().map(|[_, error]| *error).collect();
        bounds.totals = T::widen(targets.totals.iter().map(|total| total.abs()).collect());
    }

    /// Overwrites `derivative` [rows, m] with the loss differences of a block of rows.
    fn derivative(&self, derivative: &mut Vec<T>, residual: &[T], targets: &TargetRows<T>) {
        match &self.growths {
            Some(growths) => {
                let linear = targets.linear.as_ref();
                let linear = linear.map(|linear| self.times_weight(linear));
                difference(derivative, residual, growths, targets, linear.as_deref());
            }
            None => {
                let steps: Vec<(f64, f64)> = self.plan.quotients().collect();
                *derivative = difference_logits(residual, &steps, targets, self.problem.k());
            }
        }
    }

    /// Returns `left` [rows, k] times W, [rows, d].
    fn times_weight(&self, left: &[T]) -> Vec<T> {
        let mut product = Vec::new();
        matmul_into(&mut product, left, self.packed());
        product
    }

    fn packed(&self) -> &Packed<T, 1> {
        let packed = self.packed.as_ref();
        packed.expect("the weight is packed with respect to the input")
    }

    /// Computes the loss of each row with one of its columns perturbed. Returns a vector
    /// [rows·columns] for each step.
    fn forward_passes(
        &self,
        base: &[T],
        targets: &TargetRows<T>,
        columns: Range<usize>,
    ) -> Vec<Vec<T>> {
        let (d, k) = (self.problem.d(), self.problem.k());
        let m = self.problem.columns(self.plan.wrt);
        let count = columns.len();
        let losses = |step: f64| {
            let of_row = |(row, values): (usize, &[T])| {
                let copies = perturb(values, T::of(step), columns.clone());
                let logits = match self.plan.wrt {
                    Wrt::Input => logits(&copies, &self.weight, &self.bias, d).logits,
                    _ => copies,
                };
                loss(&logits, targets, row * count, count, k)
            };
            base.chunks_exact(m).enumerate().flat_map(of_row).collect()
        };
        self.plan.steps().map(losses).collect()
    }

    fn backward_rows(&self, rows: Range<usize>) -> Vec<f64> {
        let targets: TargetRows<T> = self.problem.target_rows(rows.clone());
        let samples: Vec<T> = self.problem.samples().rows(rows);
        let gradient = self.backward_logits(&samples, &targets);
        T::widen(match self.plan.wrt {
            Wrt::Input => self.times_weight(&gradient),
            _ => gradient,
        })
    }
}

impl<T: Real> Arithmetic for Kernels<'_, T> {
    fn evaluate(&self, rows: Range<usize>, entries: Range<usize>, evaluation: &mut Evaluation) {
        if self.plan.wrt.is_parameter() {
            *evaluation = self.evaluate_parameter(rows, entries);
        } else {
            self.evaluate_rows(rows, entries, evaluation);
        }
    }

    fn backward(&self, rows: Range<usize>) -> Vec<f64> {
        if self.plan.wrt.is_parameter() {
            self.backward_parameter(rows)
        } else {
            self.backward_rows(rows)
        }
    }
}

/// Returns the given columns of `values` [rows, m].
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
