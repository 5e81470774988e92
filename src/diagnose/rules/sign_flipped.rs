//! `sign-flipped`: minus the right gradient.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if !(pair.scale() < 0.0) || !pair.is_scaled() {
        return None;
    }
    let after = pair.divided(-1.0);
    let is_all = after.is_explained();
    // Any two numbers that sum to 0 are a multiple of any other two.
    if !is_all && !pair.is_informative() {
        return None;
    }
    Some(
        Hypothesis::new(Code::SignFlipped, after, words(evidence, is_all))
            .confidence(if is_all { 0.95 } else { 0.9 })
            .factor(-1.0),
    )
}

fn words(evidence: &Evidence, is_all: bool) -> Words {
    let name = evidence.name();
    let factor = if is_all { "" } else { " times a factor" };
    Words {
        message: format!("{name} is minus the correct gradient{factor}: its sign is flipped"),
        correction: "with its sign flipped".into(),
        fix: "look for target - softmax in place of softmax - target, a log-likelihood in place \
              of its negative, or an update that was already subtracted"
            .into(),
        ..Words::default()
    }
}
