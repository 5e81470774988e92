//! `divided-by-classes`: the mean over all n·k logits, as elementwise losses take it.

use crate::{
    diagnose::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByClasses)?;
    Some(hypothesis(evidence, after))
}

/// Proposes the cause for a gradient that is 1/k of the right one.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    Hypothesis::new(Code::DividedByClasses, after, words(evidence))
        .weighing(2.0)
        .factor(1.0 / evidence.problem.k() as f64)
}

fn words(evidence: &Evidence) -> Words {
    let (name, k) = (evidence.name(), evidence.problem.k());
    Words {
        message: format!(
            "{name} is 1/{k} of the correct gradient, and {k} is the number of classes: the mean \
             was taken over samples and classes"
        ),
        correction: format!("multiplied by {k}"),
        fix: "take the mean over samples only: use cross_entropy, or sum an elementwise loss over \
              the classes first (.sum(1).mean()), because .mean() alone divides by n·k"
            .into(),
        test: Some(
            "add a class that no sample has: if the factor follows the number of classes, this is \
             the cause"
                .into(),
        ),
    }
}
