//! `divided-by-count-not-weights`: class weights are in the sum, but not in its divisor.

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

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByCountNotWeights)?;
    Some(hypothesis(evidence, after))
}

/// Proposes the cause for a gradient that is sum(w\[y\])/n times the right one.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    let factor = evidence.problem.normalizer() / evidence.valid_rows().0;
    Hypothesis::new(
        Code::DividedByCountNotWeights,
        after,
        words(evidence, factor),
    )
    .weighing(4.0)
    .factor(factor)
}

fn words(evidence: &Evidence, factor: f64) -> Words {
    let (name, factor) = (evidence.name(), number(factor));
    let (count, weights) = (
        evidence.valid_rows().0,
        number(evidence.problem.normalizer()),
    );
    Words {
        message: format!(
            "{name} is {factor} times the correct gradient: the weighted losses were divided by \
             the {count} samples, not by the sum of their class weights, {weights}"
        ),
        correction: format!("divided by {factor}"),
        fix: "divide by class_weight[target].sum(), as cross_entropy(weight=...) does with \
              reduction='mean'"
            .into(),
        ..Words::default()
    }
}
