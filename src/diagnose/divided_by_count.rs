//! `divided-by-count-not-weights`: class weights are in the sum, and not in what divides it.

use super::{
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByCountNotWeights)?;
    Some(hypothesis(evidence, after))
}

/// Of a gradient that is sum(w[y])/n times what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    let (name, z, count) = (
        evidence.name(),
        evidence.problem.normalizer(),
        evidence.valid_rows().0,
    );
    let factor = z / count;
    Hypothesis::new(
        Code::DividedByCountNotWeights,
        after,
        format!("divided by {}", number(factor)),
        format!("{name} is {} times the derivative: the weighted losses were divided by the {count} samples, not by the sum of their class weights, {}", number(factor), number(z)),
        "divide by class_weight[target].sum(), as cross_entropy(weight=...) does with reduction='mean'",
    )
    .weighing(4.0)
    .factor(factor)
}
