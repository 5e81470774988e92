//! What an engine is asked for, and what it answers with.

use crate::{
    problem::{Problem, Wrt},
    scheme::{Method, Precision, Scheme},
};

/// About a second's work for two cores of a software adapter, measured at 5e8 multiply-adds a second in 2026.
const MOST_MULTIPLY_ADDS: usize = 1 << 28;

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
}

impl Plan {
    /// The plan with `eps`, or where there is none with the scheme's own best step for this problem.
    pub fn new(
        problem: &Problem,
        wrt: Wrt,
        method: Method,
        scheme: Scheme,
        eps: Option<f64>,
        precision: Precision,
    ) -> Self {
        let eps = eps.unwrap_or_else(|| scheme.auto_eps(method, precision, problem.slopes(wrt).0));
        Self {
            wrt,
            method,
            scheme,
            eps,
            precision,
        }
    }

    /// How many rows an engine should evaluate at a time, as far as time goes: a tenth of a second to a second on a
    /// processor or a software adapter, so that a progress bar moves and no submission runs into a driver's time limit.
    pub fn rows_at_a_time(&self, problem: &Problem) -> usize {
        let (d, k, m) = (problem.d(), problem.k(), problem.columns(self.wrt));
        let steps = self.scheme.offsets.len();
        let multiply_adds = match (self.method, self.wrt) {
            // A product for each step, one for S + T, and a logarithm a step that counts as ten.
            (Method::Difference, Wrt::Input) => (steps + 1) * k + 10 * steps,
            (Method::ForwardPass, Wrt::Input) => steps * k * d,
            (Method::Difference, Wrt::Logits) => 10 * steps,
            (Method::ForwardPass, Wrt::Logits) => steps * k * 10,
        };
        (MOST_MULTIPLY_ADDS / multiply_adds / m).clamp(1, problem.n())
    }

    /// The steps at which losses are taken: offset·eps, in the order of the scheme's offsets.
    pub fn steps(&self) -> impl Iterator<Item = f64> + use<> {
        let eps = self.eps;
        self.scheme.offsets.iter().map(move |offset| offset * eps)
    }
}

/// What an engine computed for a range of rows; m is the number of columns of the gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// A vector [rows·m] a step of the plan. `difference`: (l(x + step) - l(x)) / step. `forward-pass`: l(x + step).
    /// In both, l is the sample's own loss, not divided by the normaliser.
    pub losses: Vec<Vec<f64>>,
    /// [rows·m], `forward-pass` only: the values that were perturbed, as the engine held them.
    pub base: Vec<f64>,
    /// [rows·m]: S + T, the magnitudes that an entry of the gradient is made of (not divided by the normaliser).
    pub conditioning: Vec<f64>,
    /// One a row: the largest sum of magnitudes behind a logit of it, max over c of `|x|·|W[c]| + |b[c]|`.
    pub magnitude: Vec<f64>,
}
