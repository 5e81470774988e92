//! `sum-instead-of-mean`: the normaliser is missing.

use super::{
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, factor) = factor::undone_of_problem(evidence, pair, Code::SumInsteadOfMean)?;
    Some(hypothesis(evidence, after, factor))
}

/// Of a gradient that is `z` times what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, z: f64) -> Hypothesis {
    let name = evidence.name();
    let of_weights = z != evidence.valid_rows().0;
    let what = if of_weights {
        "the sum of the samples' class weights"
    } else {
        "the number of samples that count"
    };
    let mean = if of_weights || !evidence.is_weighted() {
        "which is what reduction='mean' does"
    } else {
        "which is what reduction='mean' does without class weights"
    };
    let z_text = number(z);
    let hypothesis = Hypothesis::new(
        Code::SumInsteadOfMean,
        after,
        format!("divided by {z_text}"),
        format!(
            "{name} is {z_text} times the derivative, and {z_text} is {what}: it belongs to the sum of the losses, not to their mean"
        ),
        format!("divide by {z_text}, {mean}; if the sum is meant, check with --reduction sum"),
    );
    let hypothesis = hypothesis.weighing(3.0).factor(z);
    match factor::integer(z, 1e-12) {
        Some(_) => hypothesis.test("drop half of the samples: the factor becomes half as large if it is the sum's, and stays if passes were accumulated"),
        None => hypothesis,
    }
}
