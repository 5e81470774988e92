//! `mean-instead-of-sum`: divided by the number of samples where it should not be.

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
    let (after, factor) = factor::undone_of_problem(evidence, pair, Code::MeanInsteadOfSum)?;
    Some(hypothesis(evidence, after, factor))
}

/// Proposes the cause for a gradient that is `factor` times the right one. A second division is
/// rarer than a mean in place of a sum.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, factor: f64) -> Hypothesis {
    Hypothesis::new(Code::MeanInsteadOfSum, after, words(evidence, 1.0 / factor))
        .weighing(if evidence.is_mean() { 1.0 } else { 3.0 })
        .factor(factor)
}

fn words(evidence: &Evidence, divisor: f64) -> Words {
    let (name, count) = (evidence.name(), number(divisor));
    let (valid, all) = evidence.valid_rows();
    let what = match divisor {
        n if n == all => "the number of samples",
        n if n == valid => "the number of samples that count",
        _ => "the sum of the samples' class weights",
    };
    let (message, fix) = if evidence.is_mean() {
        (
            format!(
                "{name} is 1/{count} of the correct gradient, and the mean divides by {count}: it \
                 was divided twice"
            ),
            format!(
                "divide by {count} only once: the loss from reduction='mean' is already a mean"
            ),
        )
    } else {
        (
            format!(
                "{name} is 1/{count} of the correct gradient, and {count} is {what}: it is the \
                 gradient of the mean loss, not of the sum"
            ),
            "remove the division, or check with --reduction mean if the mean is intended"
                .to_owned(),
        )
    };
    Words {
        message,
        correction: format!("multiplied by {count}"),
        fix,
        ..Words::default()
    }
}
