//! `sign-flipped`: minus the derivative.

use super::{case::Case, evidence::Evidence, hypothesis::Hypothesis};

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if !(case.scale() < 0.0) || !case.is_scaled() {
        return None;
    }
    let after = case.divided(-1.0);
    let and = if after.is_explained() {
        ""
    } else {
        " times a factor"
    };
    let name = evidence.name();
    Some(
        Hypothesis::new(
            "sign-flipped",
            after,
            "with its sign turned",
            format!("{name} is minus the derivative{and}: its sign is flipped"),
            "look for target - softmax in place of softmax - target, a log-likelihood in place of its negative, or an update that is already subtracted",
        )
        .factor(-1.0),
    )
}
