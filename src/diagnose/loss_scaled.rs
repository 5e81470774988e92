//! `loss-scaled`: the factor of a gradient scaler is still in it.

use super::{
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let power = pair.scale().log2().round();
    if !(8.0..=64.0).contains(&power) {
        return None;
    }
    let factor = power.exp2();
    let after = factor::undone(pair, factor)?;
    let (name, text) = (evidence.name(), number(factor));
    Some(
        Hypothesis::new(
            Code::LossScaled,
            after,
            format!("divided by {text}"),
            format!("{name} is {text} times the derivative, which is 2^{power}: the scale of a loss scaler is still in it"),
            "unscale before you read it: scaler.unscale_(optimizer) for the parameters (torch.amp.GradScaler), or divide by scaler.get_scale()",
        )
        .factor(factor),
    )
}
