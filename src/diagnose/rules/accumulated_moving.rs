//! `accumulated`, with weights that moved between the passes: the sum is then only nearly a
//! multiple of the right gradient.

use super::accumulated::fix;
use crate::{
    diagnose::{
        evidence::Evidence, hypothesis::Hypothesis, layer::Descent, least_squares::Regression,
        pair::Pair, words::Words,
    },
    report::Code,
};

/// Smallest scale that counts as two passes. Chosen.
const LEAST_SCALE: f64 = 1.5;
/// Largest remainder that slowly moving weights leave after scaling; measured up to 0.07.
const LARGEST_REMAINDER: f64 = 0.08;
/// Largest relative distance of the factor from an integer. Chosen.
const OFF_INTEGER: f64 = 0.1;
/// The same with the descent along dL/dW removed. Chosen.
const OFF_INTEGER_LEFT: f64 = 0.02;
/// Largest number of passes that is distinguished from other factors. Chosen.
const MANY: f64 = 20.0;
/// Least share of the errors that gradient descent must explain. Chosen.
const LEAST_SHARE: f64 = 0.8;
/// Largest number of passes that still excludes some factors: from 5 on, every number is within
/// [`OFF_INTEGER`] of an integer.
const DISTINCT: f64 = 4.0;

/// The passes in a gradient, and the pair with them undone.
struct Passes {
    count: f64,
    after: Pair,
    confidence: f64,
    /// Learning rate of gradient descent between the passes, if the weights moved by gradient
    /// descent.
    rate: Option<f64>,
}

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    let remainder = pair.fit(scale).remainder;
    if !(scale > LEAST_SCALE && remainder <= LARGEST_REMAINDER) {
        return None;
    }
    let passes = match evidence.descent_in(pair).filter(|(_, fit)| is_descent(fit)) {
        Some((descent, fit)) => with_descent(pair, descent, &fit),
        None => with_unknown_movement(pair, scale)?,
    };
    let words = words(evidence, &passes);
    let mut hypothesis = Hypothesis::new(Code::Accumulated, passes.after, words)
        .confidence(passes.confidence)
        .factor(scale)
        .evidence("remainder", remainder);
    if let Some(rate) = passes.rate {
        hypothesis = hypothesis.evidence("learning rate", rate);
    }
    // A sum instead of a mean would leave no remainder, so the search ends here.
    Some(hypothesis.settling())
}

fn is_descent(fit: &Regression) -> bool {
    let passes = fit.alpha.round();
    passes >= 2.0
        && fit.share > LEAST_SHARE
        && fit.beta > 0.0
        && (fit.alpha / passes - 1.0).abs() <= OFF_INTEGER_LEFT
}

/// Undoes `fit.alpha` passes between which the weights descended. Pass i of the count is count - i
/// steps behind the last, so the sum is off by rate·count·(count - 1)/2 slopes.
fn with_descent(pair: &Pair, descent: &Descent, fit: &Regression) -> Passes {
    let count = fit.alpha.round();
    Passes {
        count,
        after: pair.less(fit.beta, &descent.slope).divided(count),
        confidence: 0.9,
        rate: Some(2.0 * fit.beta / (count * (count - 1.0))),
    }
}

/// Undoes passes by dividing by their number.
fn with_unknown_movement(pair: &Pair, scale: f64) -> Option<Passes> {
    let count = scale.round();
    if (scale / count - 1.0).abs() > OFF_INTEGER || !(2.0..=MANY).contains(&count) {
        return None;
    }
    Some(Passes {
        count,
        after: pair.divided(count),
        confidence: if count <= DISTINCT { 0.6 } else { 0.5 },
        rate: None,
    })
}

fn words(evidence: &Evidence, passes: &Passes) -> Words {
    let (name, count) = (evidence.name(), passes.count);
    let (movement, correction) = match passes.rate {
        Some(rate) => (
            format!(
                "while gradient descent moved the weights at an effective learning rate of about \
                 {rate:.1e}"
            ),
            format!("divided by {count}, without the movement of the weights"),
        ),
        None => (
            "while something, such as the weights, moved a little".to_owned(),
            format!("divided by {count}"),
        ),
    };
    Words {
        message: format!(
            "{name} is about {count} times the correct gradient, as if {count} backward passes had \
             been summed {movement}"
        ),
        correction,
        fix: fix(evidence),
        ..Words::default()
    }
}
