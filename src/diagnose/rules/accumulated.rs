//! `accumulated`: several backward passes summed in one buffer, with the same weights in each.

use crate::{
    diagnose::{
        evidence::Evidence,
        factor,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, variable},
    },
    report::Code,
};

/// Largest number of passes; a larger factor is named `accumulated` only if no other rule names it.
/// Chosen.
const MANY: f64 = 64.0;
/// Largest number of passes that is common. Chosen.
const COMMON: f64 = 20.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let passes = factor::integer(pair.scale(), pair.scale_uncertainty())?;
    if passes > MANY {
        return None;
    }
    let after = factor::undone(pair, passes)?;
    Some(hypothesis(evidence, after, passes))
}

/// Proposes the cause for a gradient that is `passes` times the right one.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, passes: f64) -> Hypothesis {
    Hypothesis::new(Code::Accumulated, after, words(evidence, passes))
        .confidence(if passes <= COMMON { 0.9 } else { 0.7 })
        .factor(passes)
}

fn words(evidence: &Evidence, passes: f64) -> Words {
    let (name, fix) = (evidence.name(), fix(evidence));
    Words {
        message: format!(
            "{name} is exactly {passes} times the correct gradient, as if {passes} backward passes \
             had been summed"
        ),
        correction: format!("divided by {passes}"),
        fix: format!(
            "{fix}; if the batch was split into {passes} parts, divide the mean loss of each part \
             by {passes}"
        ),
        test: Some(
            "run the backward pass once more: the factor grows by one if passes are accumulated"
                .into(),
        ),
    }
}

/// Returns how to end an accumulation.
pub(super) fn fix(evidence: &Evidence) -> String {
    let variable = variable(evidence.wrt);
    let zero_grad = if evidence.wrt.is_parameter() {
        "optimizer.zero_grad() does that for its own parameters"
    } else {
        "optimizer.zero_grad() clears only the gradients of parameters"
    };
    format!("set {variable}.grad = None before each backward pass ({zero_grad})")
}
