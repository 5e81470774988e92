//! The bound e on the error of the numeric gradient: truncation, rounding and underflow.
//!
//! With c = S + T the conditioning of an entry, u the working precision's unit roundoff and Z the normaliser:
//! - truncation: [`Scheme::truncation`](crate::scheme::Scheme::truncation) times c, both methods;
//! - rounding, `difference`: `DIFFERENCE_ROUNDING`·u·c, the same law that a framework's backward pass obeys, as its
//!   sums are the same sums;
//! - rounding, `forward-pass`: each loss is off by at most u times the magnitudes behind its logits, and the
//!   subtraction divides that by eps;
//! - underflow: [`underflow`] of the working precision; in a loss it is divided by eps, as all rounding there.

use crate::{
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// C of the law |error| <= C·u·(S + T), measured at 31 for f32 gradients of PyTorch (600 problems, d and k to 1000).
const DIFFERENCE_ROUNDING: f64 = 32.0;

/// Lanes that a dot product is summed in, on every engine; each sums d/16 products one after the other.
const LANES: usize = 16;

/// The bound for every entry of one gradient.
pub(crate) struct Noise {
    /// [m]: times c.
    by_column: Vec<f64>,
    /// Times the row's magnitude.
    by_magnitude: f64,
    /// For every entry.
    floor: f64,
}

impl Noise {
    pub(crate) fn new(problem: &Problem, plan: &Plan) -> Self {
        let u = plan.precision.unit_roundoff();
        let (_, ranges) = problem.slopes(plan.wrt);
        // The share of rounding in what is relative to c.
        let rounding = match plan.method {
            Method::Difference => DIFFERENCE_ROUNDING * u,
            // Points that were rounded lie a little off centre, which costs at most u·T.
            Method::ForwardPass => u,
        };
        let by_column = ranges
            .iter()
            .map(|range| plan.scheme.truncation(plan.eps * range) + rounding);
        let underflow = underflow(problem, plan.wrt, plan.precision.smallest_normal());
        let (by_magnitude, floor) = match plan.method {
            Method::Difference => (0.0, underflow),
            Method::ForwardPass => {
                // What an error in each loss may come to in the derivative.
                let losses = plan
                    .scheme
                    .coefficients
                    .iter()
                    .map(|c| c.abs())
                    .sum::<f64>();
                let weight = losses / (plan.eps * problem.normalizer());
                let (d, k) = (problem.d() as f64, problem.k() as f64);
                // logsumexp moves by at most what its largest-moving logit moves, z[target] as well; exp, log and
                // the sum over k positive terms add their own.
                let by_magnitude = 2.0 * u * (d / LANES as f64 + 8.0);
                let loss =
                    u * (k.ln() + k.min(64.0) + 8.0) + plan.precision.smallest_normal() * (k + 4.0);
                (by_magnitude * weight, loss * weight + underflow)
            }
        };
        Self {
            by_column: by_column.collect(),
            by_magnitude,
            floor,
        }
    }

    /// The bound for an entry in `column`, with its conditioning (divided by Z) and its row's magnitude.
    pub(crate) fn bound(&self, column: usize, conditioning: f64, magnitude: f64) -> f64 {
        conditioning * self.by_column[column] + magnitude * self.by_magnitude + self.floor
    }
}

/// What may be lost where results below `smallest` are flushed to zero on the way to an entry of the gradient: a
/// softmax, k products with dz/dx, a division by the normaliser and the entry itself.
pub(crate) fn underflow(problem: &Problem, wrt: Wrt, smallest: f64) -> f64 {
    let terms = (problem.k() as f64 + 4.0) * (1.0 + problem.slopes(wrt).0);
    smallest * (1.0 + terms / problem.normalizer())
}
