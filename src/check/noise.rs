//! The bound e on the error of the numeric gradient: truncation, rounding and underflow.
//!
//! With c the conditioning of an entry ([`Law`]: sums·S + T), u the working precision's unit roundoff, A the largest magnitude
//! behind a logit of the row and Z the normaliser:
//! - truncation: [`Scheme::truncation`](crate::scheme::Scheme::truncation) times S <= c / sums, both methods;
//! - rounding, `difference`: the law itself, `LOGITS`·u·c, as its sums are those of any backward pass. Where c was
//!   made for a half-precision gradient, whose logits are rounded once, the T of this engine is bounded by 2·A·S;
//! - rounding, `forward-pass`: each loss is off by at most u times the magnitudes behind its logits, and the
//!   subtraction divides that by eps;
//! - underflow: [`underflow`] of the working precision; in a loss it is divided by eps, as all rounding there.

use crate::{
    plan::{Law, Plan},
    problem::{Problem, Wrt},
    scheme::Method,
};

/// Lanes that a dot product is summed in, on every engine; each sums d/16 products one after the other.
const LANES: usize = 16;

/// The bound for every entry of one gradient.
pub(crate) struct Noise {
    /// [m]: times c.
    by_column: Vec<f64>,
    /// Times c and the row's magnitude.
    by_both: f64,
    /// Times the row's magnitude and R.
    by_magnitude: f64,
    /// Times the row's R.
    by_total: f64,
    /// For every entry.
    floor: f64,
}

impl Noise {
    pub(crate) fn new(problem: &Problem, plan: &Plan) -> Self {
        let u = plan.precision.unit_roundoff();
        let (_, ranges) = problem.slopes(plan.wrt);
        let own = Law::new(plan.precision.dtype(), problem.terms(plan.wrt));
        let (rounding, by_both) = match plan.method {
            Method::Difference if plan.law.accumulation == 1.0 => {
                (Law::LOGITS * u * own.sums / plan.law.sums, 0.0)
            }
            Method::Difference => (Law::LOGITS * u * own.sums, 2.0 * Law::LOGITS * u),
            // Points that were rounded lie a little off centre, which costs at most u·T <= 2·u·A·S.
            Method::ForwardPass => (0.0, 2.0 * u),
        };
        let truncation = |range| plan.scheme.truncation(plan.eps * range) / plan.law.sums;
        let by_column = ranges
            .iter()
            .map(|range| truncation(range) + rounding)
            .collect();
        let underflow = underflow(problem, plan.wrt, plan.precision.smallest_normal());
        let (by_magnitude, by_total) = match plan.method {
            Method::Difference => (0.0, 0.0),
            Method::ForwardPass => {
                let (d, k) = (problem.d() as f64, problem.k() as f64);
                // What an error in each loss may come to in the derivative.
                let weight = plan.scheme.amplification() / (plan.eps * problem.normalizer());
                // logsumexp moves by at most what its largest-moving logit moves, what is subtracted as well; exp, log
                // and the sums over k terms add their own.
                let terms = if problem.is_one_hot() { 0.0 } else { k.sqrt() };
                let by_magnitude = 2.0 * u * (d / LANES as f64 + 8.0 + terms);
                let loss = u * (k.ln() * (1.0 + terms) + k.min(64.0) + 8.0)
                    + plan.precision.smallest_normal() * (k + 4.0);
                (by_magnitude * weight, loss * weight)
            }
        };
        Self {
            by_column,
            by_both,
            by_magnitude,
            by_total,
            floor: underflow,
        }
    }

    /// The bound for an entry in `column`, with its conditioning (divided by Z), its row's magnitude and R.
    pub(crate) fn bound(
        &self,
        column: usize,
        conditioning: f64,
        magnitude: f64,
        total: f64,
    ) -> f64 {
        conditioning * (self.by_column[column] + magnitude * self.by_both)
            + total * (magnitude * self.by_magnitude + self.by_total)
            + self.floor
    }
}

/// What may be lost where results below `smallest` are flushed to zero on the way to an entry of the gradient: a
/// softmax, k products with dz/dx, a division by the normaliser and the entry itself.
pub(crate) fn underflow(problem: &Problem, wrt: Wrt, smallest: f64) -> f64 {
    let samples = if wrt.is_parameter() {
        problem.n() as f64
    } else {
        1.0
    };
    let terms = samples
        * (problem.k() as f64 + 4.0)
        * (1.0 + problem.slopes(wrt).0)
        * problem.largest_total();
    smallest * (1.0 + terms / problem.normalizer())
}
