//! `divided-by-classes`: the mean over all n·k logits, as elementwise losses take it.

use super::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByClasses)?;
    Some(hypothesis(evidence, after))
}

/// Of a gradient that is 1/k of what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    let (name, k) = (evidence.name(), evidence.problem.k());
    Hypothesis::new(
        Code::DividedByClasses,
        after,
        format!("multiplied by {k}"),
        format!("{name} is 1/{k} of the derivative, and {k} is the number of classes: the mean was taken over samples and classes"),
        "take the mean over the samples only: sum the loss over the classes first (.sum(1).mean()), or use cross_entropy, which does; .mean() of an elementwise loss divides by n·k",
    )
    .weighing(2.0)
    .factor(1.0 / k as f64)
    .test("check the same with one class more, of which there is no sample: if the factor follows the number of classes, this is it")
}
