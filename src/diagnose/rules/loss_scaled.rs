//! `loss-scaled`: the factor of a gradient scaler is still in the gradient.

use crate::{
    diagnose::{
        evidence::Evidence,
        factor,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

/// Powers of two that scalers use. Chosen; PyTorch's starts at 16.
const POWERS: std::ops::RangeInclusive<f64> = 8.0..=64.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let power = pair.scale().log2().round();
    if !POWERS.contains(&power) {
        return None;
    }
    let after = factor::undone(pair, power.exp2())?;
    let words = words(evidence, power);
    Some(Hypothesis::new(Code::LossScaled, after, words).factor(power.exp2()))
}

fn words(evidence: &Evidence, power: f64) -> Words {
    let (name, factor) = (evidence.name(), number(power.exp2()));
    Words {
        message: format!(
            "{name} is {factor} times the correct gradient, which is 2^{power}: the factor of a \
             loss scaler is still in it"
        ),
        correction: format!("divided by {factor}"),
        fix: "unscale the gradient before reading it: scaler.unscale_(optimizer) for parameters \
              (torch.amp.GradScaler), or divide by scaler.get_scale()"
            .into(),
        ..Words::default()
    }
}
