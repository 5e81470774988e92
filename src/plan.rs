//! The numeric gradient that an engine is asked for, and its cost.

use crate::{
    problem::{Problem, Wrt},
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// A derivative and the way to approximate it.
///
/// [`From<Wrt>`] yields the defaults: central differences by `difference`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differentiation {
    /// The variable that the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The way in which losses become a derivative.
    pub method: Method,
    /// The points at which losses are computed.
    pub scheme: Scheme,
}

impl From<Wrt> for Differentiation {
    fn from(wrt: Wrt) -> Self {
        Self {
            wrt,
            method: Method::default(),
            scheme: Scheme::default(),
        }
    }
}

impl Differentiation {
    /// Returns this derivative by another method.
    pub fn by(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Returns this derivative by another scheme.
    pub fn with_scheme(self, scheme: Scheme) -> Self {
        Self { scheme, ..self }
    }

    /// Returns the multiply-adds per sample, approximately.
    pub fn work(self, problem: &Problem) -> usize {
        let (d, k, m) = (problem.d(), problem.k(), problem.columns(self.wrt));
        let steps = self.scheme.terms(self.method).count();
        // The logits with their bounds, and the softmax.
        let forward = k * (2 * d + 100);
        let per_column = match (self.method, self.wrt) {
            // One product per step, one for S + T, and one logarithm per step that counts as ten.
            (Method::Difference, Wrt::Input) => (steps + 1) * k + 10 * steps,
            // An exponential per class takes as long as 400 multiply-adds if the next operation
            // waits for it, else as long as 20; measured in 2026.
            (Method::ForwardPass, Wrt::Input) => steps * k * (d + 400),
            (Method::Difference, Wrt::Logits) => 10 * steps,
            (Method::ForwardPass, Wrt::Logits) => steps * k * 20,
            // A sample contributes to every entry of a parameter.
            (Method::Difference, Wrt::Weight | Wrt::Bias) => 16 * steps * k,
            (Method::ForwardPass, Wrt::Weight | Wrt::Bias) => steps * k * (d + 20 * k),
        };
        let columns = match (self.method, self.wrt) {
            // The kernel computes a whole tile of 16 columns.
            (Method::Difference, Wrt::Bias) => 16,
            _ => m,
        };
        per_column.saturating_mul(columns).saturating_add(forward)
    }
}

/// One numeric gradient: a derivative, its approximation, and the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The variable that the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The way in which losses become a derivative.
    pub method: Method,
    /// The points at which losses are computed.
    pub scheme: Scheme,
    /// The step.
    pub eps: f64,
    /// The arithmetic in which losses are computed.
    pub precision: Precision,
    /// The element type of the gradient under test, which sets its
    /// [rounding model](crate::rounding::RoundingModel).
    pub dtype: Dtype,
}

impl Plan {
    /// Plans a derivative with step `eps`, by default the scheme's own
    /// [best step](Scheme::auto_eps) for the problem. Assumes that the gradient under test has the
    /// type of `precision`; see [`Plan::for_gradient_of`].
    pub fn new(
        problem: &Problem,
        derivative: impl Into<Differentiation>,
        eps: Option<f64>,
        precision: Precision,
    ) -> Self {
        let Differentiation {
            wrt,
            method,
            scheme,
        } = derivative.into();
        let auto_eps = || scheme.auto_eps(method, precision, problem.slopes(wrt).0);
        Self {
            wrt,
            method,
            scheme,
            eps: eps.unwrap_or_else(auto_eps),
            precision,
            dtype: precision.dtype(),
        }
    }

    /// Returns this plan for a gradient under test of another type.
    pub fn for_gradient_of(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// Returns the derivative and the way to approximate it.
    pub fn derivative(&self) -> Differentiation {
        Differentiation {
            wrt: self.wrt,
            method: self.method,
            scheme: self.scheme,
        }
    }

    /// Returns the steps at which losses are computed, offset·eps, in the order of the scheme's
    /// terms.
    pub fn steps(&self) -> impl Iterator<Item = f64> + use<> {
        self.quotients().map(|(step, _)| step)
    }

    /// Returns the steps, each with the coefficient of the quotient
    /// (L(x + step) - L(x)) / step in the derivative.
    pub fn quotients(&self) -> impl Iterator<Item = (f64, f64)> + use<> {
        let eps = self.eps;
        let terms = self.scheme.terms(self.method);
        terms.map(move |(offset, coefficient)| (offset * eps, offset * coefficient))
    }
}
