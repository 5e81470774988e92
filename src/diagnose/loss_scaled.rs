//! `loss-scaled`: the factor of a gradient scaler is still in it.

use super::{
    case::Case,
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
};

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let power = case.scale().log2().round();
    if !(8.0..=64.0).contains(&power) {
        return None;
    }
    let factor = power.exp2();
    let after = factor::undone(case, factor)?;
    let (name, text) = (evidence.name(), number(factor));
    Some(
        Hypothesis::new(
            "loss-scaled",
            after,
            format!("divided by {text}"),
            format!("{name} is {text} times the derivative, which is 2^{power}: the scale of a loss scaler is still in it"),
            "unscale before you read it: scaler.unscale_(optimizer) for the parameters (torch.amp.GradScaler), or divide by scaler.get_scale()",
        )
        .factor(factor),
    )
}
