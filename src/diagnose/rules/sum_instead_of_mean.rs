//! `sum-instead-of-mean`: the division by the normalizer is missing.

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
    let (after, factor) = factor::undone_of_problem(evidence, pair, Code::SumInsteadOfMean)?;
    Some(hypothesis(evidence, after, factor))
}

/// Proposes the cause for a gradient that is `normalizer` times the right one.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, normalizer: f64) -> Hypothesis {
    Hypothesis::new(Code::SumInsteadOfMean, after, words(evidence, normalizer))
        .weighing(3.0)
        .factor(normalizer)
}

fn words(evidence: &Evidence, normalizer: f64) -> Words {
    let (name, z) = (evidence.name(), number(normalizer));
    let is_of_weights = normalizer != evidence.valid_rows().0;
    let what = if is_of_weights {
        "the sum of the samples' class weights"
    } else {
        "the number of samples that count"
    };
    let mean = if is_of_weights || !evidence.is_weighted() {
        "as reduction='mean' does"
    } else {
        "as reduction='mean' does without class weights"
    };
    // Passes are an integer.
    let test = factor::integer(normalizer, 1e-12).map(|_| {
        "drop half of the samples: the factor halves if the loss was summed, and stays if passes \
         were accumulated"
            .to_owned()
    });
    Words {
        message: format!(
            "{name} is {z} times the correct gradient, and {z} is {what}: it is the gradient of \
             the summed loss, not of the mean"
        ),
        correction: format!("divided by {z}"),
        fix: format!("divide by {z}, {mean}; if the sum is intended, check with --reduction sum"),
        test,
    }
}
