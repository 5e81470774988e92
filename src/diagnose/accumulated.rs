//! `accumulated`: several backward passes summed in one buffer, with the same weights in each.

use super::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair, words::variable};
use crate::report::Code;

/// More passes than that are called accumulated only where nothing else names the factor.
const MANY: f64 = 64.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let passes = factor::integer(pair.scale(), pair.scale_uncertainty())?;
    if passes > MANY {
        return None;
    }
    let after = factor::undone(pair, passes)?;
    Some(hypothesis(evidence, after, passes))
}

/// Of a gradient that is `passes` times what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, passes: f64) -> Hypothesis {
    let name = evidence.name();
    Hypothesis::new(
        Code::Accumulated,
        after,
        format!("divided by {passes}"),
        format!("{name} is exactly {passes} times the derivative: it looks like the sum of {passes} backward passes"),
        format!("{}; if the batch was cut into {passes} parts, each with a mean of its own, divide each loss by {passes}", fix(evidence)),
    )
    .confidence(if passes <= 20.0 { 0.9 } else { 0.7 })
    .factor(passes)
    .test("call backward once more: the factor grows by one if passes are accumulated")
}

/// What ends an accumulation.
pub(super) fn fix(evidence: &Evidence) -> String {
    let variable = variable(evidence.wrt);
    let zero_grad = if evidence.wrt.is_parameter() {
        "optimizer.zero_grad() does that for the parameters it knows"
    } else {
        "optimizer.zero_grad() clears only the parameters' gradients"
    };
    format!("clear it before each backward pass ({variable}.grad = None); {zero_grad}")
}
