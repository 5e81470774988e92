//! `all-zero`: nothing but zeros.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::variable};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let tally = &evidence.check.tally;
    if tally.sums.analytic_analytic.value() != 0.0 || tally.counts.not_finite > 0 {
        return None;
    }
    let (name, variable) = (evidence.name(), variable(evidence.wrt));
    let norm = tally.sums.numeric_numeric.value().sqrt();
    let hypothesis = Hypothesis::new(
        Code::AllZero,
        pair.without(|_| true),
        "without the zeros, which is nothing",
        format!(
            "{name} is zero everywhere, and the derivative is not: the loss does not reach {variable}, or the gradient was read after it was cleared"
        ),
        format!(
            "look for .detach(), .data, torch.no_grad() or jax.lax.stop_gradient between {variable} and the loss; read {variable}.grad before zero_grad(); an intermediate tensor needs retain_grad()"
        ),
    );
    Some(
        hypothesis
            .confidence(1.0)
            .evidence("norm of the derivative", norm),
    )
}
