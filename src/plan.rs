//! What an engine is asked for, and what it answers with.

use std::ops::Range;

use crate::{
    problem::{Problem, Wrt},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// How rounding adds up in a gradient, whoever computes it: the weights of the magnitudes that an entry is made of.
///
/// A correct gradient misses the exact one by at most about `LOGITS`·u·(sums·S + T), u the unit roundoff of its type, where
/// S and T sum magnitudes over the classes c, with A the [magnitude](crate::cpu::logits::Logits::magnitude) behind a logit:
///
/// ```text
/// S = sum_c (R p[c] + |R p[c] - r[c]|) |dz[c]/dx|
/// T = sum_c R p[c] ((1 - p[c]) A[c] + sum_{b != c} p[b] A[b] + |log p[c]|) |dz[c]/dx|
/// ```
///
/// S is what the softmax and the terms of the last product round to; T is the first-order bound on `R p[c]` under errors A in
/// the logits, `dp[c] = p[c] (dz[c] - sum_b p[b] dz[b])`, and under the rounding of log p, which frameworks keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundingModel {
    /// The weight of S relative to T: sums over k terms drift as sqrt(k), but where they run in a wider type.
    pub sums: f64,
    /// How much of A counts: 1, or the wider type's share where logits are summed in f32 and rounded once
    /// to f16 or bf16; then A is |z| and this share of the magnitudes behind it.
    pub accumulation: f64,
}

impl RoundingModel {
    /// Roundings that an error in the logits is made of: the sum, and the subtraction of the largest before exp.
    pub const LOGITS: f64 = 4.0;

    /// How far a logit z may have moved, in units of roundoff: all of the magnitude a behind it, or |z| and a share of a.
    pub fn moved(&self, z: f64, a: f64) -> f64 {
        if self.accumulation == 1.0 {
            a
        } else {
            z.abs() + self.accumulation * a
        }
    }

    /// Of a gradient of type `dtype` behind whose entries are sums of so many terms: classes, or samples.
    pub fn new(dtype: Dtype, terms: usize) -> Self {
        match dtype {
            Dtype::F16 | Dtype::BF16 => Self {
                sums: 1.0,
                accumulation: Dtype::F32.unit_roundoff() / dtype.unit_roundoff(),
            },
            _ => Self {
                sums: 1.0 + (terms as f64).sqrt() / Self::LOGITS,
                accumulation: 1.0,
            },
        }
    }
}

/// One numeric gradient: of what, by which differences, in which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What the gradient is taken with respect to.
    pub wrt: Wrt,
    /// How the losses are computed.
    pub method: Method,
    /// Where the losses are taken.
    pub scheme: Scheme,
    /// The step.
    pub eps: f64,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// What the conditioning of an entry is made of.
    pub law: RoundingModel,
}

impl Plan {
    /// The plan with `eps`, or where there is none with the scheme's own best step for this problem; `dtype` is that
    /// of the gradient under test.
    pub fn new(
        problem: &Problem,
        wrt: Wrt,
        method: Method,
        scheme: Scheme,
        eps: Option<f64>,
        precision: Precision,
        dtype: Dtype,
    ) -> Self {
        let eps = eps.unwrap_or_else(|| scheme.auto_eps(method, precision, problem.slopes(wrt).0));
        let law = RoundingModel::new(dtype, problem.terms(wrt));
        Self {
            wrt,
            method,
            scheme,
            eps,
            precision,
            law,
        }
    }

    /// How many rows an engine should evaluate at a time that does so many multiply-adds in the time that it should take, so that
    /// a progress bar moves and no submission runs into a driver's time limit.
    pub fn rows_at_a_time(&self, problem: &Problem, most_multiply_adds: usize) -> usize {
        let a_row = Self::work(problem, self.wrt, self.method, self.scheme);
        (most_multiply_adds / a_row).clamp(1, problem.n())
    }

    /// Multiply-adds that a sample takes, about.
    pub fn work(problem: &Problem, wrt: Wrt, method: Method, scheme: Scheme) -> usize {
        let (d, k, m) = (problem.d(), problem.k(), problem.columns(wrt));
        let steps = scheme.terms(method).count();
        // The logits with their bounds, and the softmax.
        let forward = k * (2 * d + 100);
        let of_column = match (method, wrt) {
            // A product for each step, one for S + T, and a logarithm a step that counts as ten.
            (Method::Difference, Wrt::Input) => (steps + 1) * k + 10 * steps,
            // A class's exponential takes as long as 400, as measured in 2026; as long as 20 where it is not waited for.
            (Method::ForwardPass, Wrt::Input) => steps * k * (d + 400),
            (Method::Difference, Wrt::Logits) => 10 * steps,
            (Method::ForwardPass, Wrt::Logits) => steps * k * 20,
            // A row takes part in every entry.
            (Method::Difference, Wrt::Weight | Wrt::Bias) => 16 * steps * k,
            (Method::ForwardPass, Wrt::Weight | Wrt::Bias) => steps * k * (d + 20 * k),
        };
        let columns = match (method, wrt) {
            // It is computed as a tile of 16 is.
            (Method::Difference, Wrt::Bias) => 16,
            _ => m,
        };
        of_column.saturating_mul(columns).saturating_add(forward)
    }

    /// The steps at which losses are taken: offset·eps, in the order of the scheme's terms.
    pub fn steps(&self) -> impl Iterator<Item = f64> + use<> {
        self.quotients().map(|(step, _)| step)
    }

    /// The same, each with what the quotient (L(x + step) - L(x)) / step counts in the derivative.
    pub fn quotients(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        let eps = self.eps;
        let terms = self.scheme.terms(self.method);
        terms.map(move |(offset, coefficient)| (offset * eps, offset * coefficient))
    }
}

/// What an engine computed for a range of rows; m is the number of columns of the gradient. With respect to a parameter
/// rows are classes, and what is computed is what the samples add to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// [rows·m], `difference` only: the derivative of the sample's own loss, not divided by the normaliser.
    pub derivative: Vec<f64>,
    /// `forward-pass` only, a vector [rows·m] a step of the plan: the sample's own loss with that step taken, not divided by
    /// the normaliser; [`differentiate`](Self::differentiate) makes a derivative of them.
    pub losses: Vec<Vec<f64>>,
    /// [rows·m]: the values that were perturbed, as the engine held them; may be missing for `difference`.
    pub base: Vec<f64>,
    /// [rows·m]: [`RoundingModel::sums`]·S + T, the magnitudes that an entry is made of, not divided by the normaliser.
    pub conditioning: Vec<f64>,
    /// One a row: the largest sum of magnitudes behind a logit of it, [`Logits::magnitude`](crate::cpu::logits::Logits::magnitude).
    pub magnitude: Vec<f64>,
    /// One a row: R, the weight of the sample's loss; 0 if it is ignored.
    pub totals: Vec<f64>,
    /// One a row: the largest of what of that counts by the plan's law, [`RoundingModel::accumulation`].
    pub moved: Vec<f64>,
}

/// What the entries of a gradient may be off by, for a device that compares them itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// Z, by which the derivative and the conditioning are still to be divided.
    pub normalizer: f64,
    /// Times |numeric|: what the host, which combines and divides in f64, may make of it.
    pub slack: f64,
    /// Of the gradient under test.
    pub unit_roundoff: f64,
    /// Tolerance, times the conditioning.
    pub rounding: f64,
    /// Times |numeric|.
    pub drift: f64,
    /// Whatever the entry.
    pub floor: f64,
    /// rtol and atol, in place of those three.
    pub given: Option<[f64; 2]>,
    /// The bound on the numeric error, times the conditioning, a column each.
    pub noise: Vec<f64>,
    /// Times the conditioning and the row's magnitude.
    pub noise_by_magnitude: f64,
    /// Times |numeric|.
    pub noise_drift: f64,
    /// Whatever the entry.
    pub noise_floor: f64,
}

/// What a device found of a range of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceComparison {
    /// Entries that are not clearly within what they may be off by, and sums that left the range of its arithmetic: with any, the rows
    /// are to be compared again.
    pub suspects: u64,
    /// A few rows each, in order.
    pub blocks: Vec<Block>,
    /// Relative errors that occurred, and how often.
    pub rel_err: Vec<(f64, u64)>,
}

/// What a device found of a few rows, all columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Which rows.
    pub rows: Range<usize>,
    /// Down the columns, `[m]` each.
    pub columns: [Vec<f64>; 7],
    /// The sum of tolerance times |numeric| of each row.
    pub tolerance_numeric: Vec<f64>,
    /// The sum of all relative errors.
    pub sum_rel_err: f64,
    /// The largest.
    pub max_rel_err: f64,
    /// Entries that the noise leaves undecided.
    pub undecided: u64,
    /// The largest |analytic - numeric| in units of what is allowed.
    pub severity: f64,
    /// Whether copies that are all zero, of the other sign, half as large again, or moved on by a column would have been found wrong;
    /// and whether the last differs at all.
    pub caught: [bool; 5],
    /// The least relative error that an entry would have been convicted of.
    pub least_detectable: f64,
}

impl Block {
    /// The sum of numeric².
    pub const NUMERIC_NUMERIC: usize = 0;
    /// The sum of (analytic - numeric) · numeric.
    pub const ERROR_NUMERIC: usize = 1;
    /// The sum of (analytic - numeric)².
    pub const ERROR_ERROR: usize = 2;
    /// The sum of (tolerance · |numeric|)².
    pub const TOLERANCE_TOLERANCE: usize = 3;
    /// The sum of tolerance · |numeric|.
    pub const TOLERANCE_NUMERIC: usize = 4;
    /// The sum of noise · |numeric|.
    pub const NOISE_NUMERIC: usize = 5;
    /// The sum of |numeric|.
    pub const NUMERIC_ABS: usize = 6;
}

/// The evaluation of a range of rows, to be had a few at a time by several threads.
pub trait RowSource: Sync {
    /// Of some of its rows, counted from its first, into `evaluation`, whatever that held.
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation);
}

impl RowSource for Evaluation {
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        *evaluation = Evaluation::rows(self, rows);
    }
}

impl Evaluation {
    /// Sees to it that `derivative` is there, by the scheme from the losses where the engine left it at those.
    pub fn differentiate(&mut self, plan: &Plan) {
        if plan.method == Method::ForwardPass {
            let derivative = |entry: usize| {
                let losses = self.losses.iter().map(|losses| losses[entry]);
                let points = plan.steps().map(|step| {
                    // The sum as the engine rounded it.
                    let step = plan.precision.round(step);
                    plan.precision.round(self.base[entry] + step)
                });
                plan.scheme.derivative(losses, points)
            };
            self.derivative = (0..self.conditioning.len()).map(derivative).collect();
        }
    }

    /// Of some of its rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let columns = self.conditioning.len() / self.totals.len();
        let entries = rows.start * columns..rows.end * columns;
        let of_entries = |values: &Vec<f64>| {
            if values.is_empty() {
                Vec::new()
            } else {
                values[entries.clone()].to_vec()
            }
        };
        Self {
            derivative: of_entries(&self.derivative),
            losses: self.losses.iter().map(of_entries).collect(),
            base: of_entries(&self.base),
            conditioning: of_entries(&self.conditioning),
            magnitude: self.magnitude[rows.clone()].to_vec(),
            totals: self.totals[rows.clone()].to_vec(),
            moved: self.moved[rows].to_vec(),
        }
    }
}
