//! `sign-flipped`: minus the derivative.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if !(pair.scale() < 0.0) || !pair.is_scaled() {
        return None;
    }
    let after = pair.divided(-1.0);
    let (and, confidence) = match after.is_explained() {
        true => ("", 0.95),
        // Two numbers that sum to 0 are always a multiple of two others.
        false if !pair.is_informative() => return None,
        false => (" times a factor", 0.9),
    };
    let name = evidence.name();
    Some(
        Hypothesis::new(
            Code::SignFlipped,
            after,
            "with its sign turned",
            format!("{name} is minus the derivative{and}: its sign is flipped"),
            "look for target - softmax in place of softmax - target, a log-likelihood in place of its negative, or an update that is already subtracted",
        )
        .confidence(confidence)
        .factor(-1.0),
    )
}
