//! `all-zero`: every entry is zero.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, variable},
    },
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let tally = &evidence.check.tally;
    if tally.sums.analytic_analytic.value() != 0.0 || tally.counts.not_finite > 0 {
        return None;
    }
    let norm = tally.sums.numeric_numeric.value().sqrt();
    let nothing = pair.without(|_| true);
    Some(
        Hypothesis::new(Code::AllZero, nothing, words(evidence))
            .confidence(1.0)
            .evidence("norm of the derivative", norm),
    )
}

fn words(evidence: &Evidence) -> Words {
    let (name, variable) = (evidence.name(), variable(evidence.wrt));
    Words {
        message: format!(
            "{name} is zero everywhere, but the correct gradient is not: {variable} is detached \
             from the loss, or the gradient was read after it was cleared"
        ),
        correction: "without the zeros, which leaves nothing".into(),
        fix: format!(
            "look for .detach(), .data, torch.no_grad() or jax.lax.stop_gradient between \
             {variable} and the loss; read {variable}.grad before zero_grad(); call retain_grad() \
             on an intermediate tensor"
        ),
        ..Words::default()
    }
}
