//! `mean-instead-of-sum`: divided by the number of samples where it should not be.

use super::{
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, factor) = factor::undone_of_problem(evidence, pair, Code::MeanInsteadOfSum)?;
    Some(hypothesis(evidence, after, factor))
}

/// Of a gradient that is `factor` times what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair, factor: f64) -> Hypothesis {
    let (name, count) = (evidence.name(), number(1.0 / factor));
    let (valid, all) = evidence.valid_rows();
    let what = match 1.0 / factor {
        n if n == all => "the number of samples",
        n if n == valid => "the number of samples that count",
        _ => "the sum of the samples' class weights",
    };
    let (message, fix) = if !evidence.is_mean() {
        (
            format!(
                "{name} is 1/{count} of the derivative, and {count} is {what}: it belongs to the mean of the losses, not to their sum"
            ),
            "leave the division out, or check with --reduction mean if the mean is meant"
                .to_owned(),
        )
    } else {
        (
            format!(
                "{name} is 1/{count} of the derivative, and {count} is what the mean divides by: it was divided twice"
            ),
            format!(
                "divide by {count} once: the loss that reduction='mean' gives is a mean already"
            ),
        )
    };
    Hypothesis::new(
        Code::MeanInsteadOfSum,
        after,
        format!("multiplied by {count}"),
        message,
        fix,
    )
    // Twice is rarer than once too often.
    .weighing(if evidence.is_mean() { 1.0 } else { 3.0 })
    .factor(factor)
}
