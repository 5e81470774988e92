//! `accumulated`, with weights that moved between the passes: then the sum is not quite a multiple of the derivative.

use super::{accumulated::fix, evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

/// Above this, what remains after scaling is not the drift of slowly moving weights (measured up to 0.07).
const LARGEST_REMAINDER: f64 = 0.08;
/// How far from an integer the factor may be, relative to it.
const LARGEST_DRIFT: f64 = 0.1;
/// The same once the drift is taken out, as far as it goes along dL/dW.
const LARGEST_DRIFT_LEFT: f64 = 0.02;
/// More passes than that are not told from any other factor.
const MANY: f64 = 20.0;
/// Of what one factor leaves, the least share that is the drift of gradient descent.
const LEAST_SHARE: f64 = 0.8;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    let remainder = pair.fit(scale).remainder;
    if !(scale > 1.5 && remainder <= LARGEST_REMAINDER) {
        return None;
    }
    let descent = evidence.drift_in(pair).filter(|(_, fit)| {
        let passes = fit.alpha.round();
        passes >= 2.0
            && fit.share > LEAST_SHARE
            && fit.beta > 0.0
            && (fit.alpha / passes - 1.0).abs() <= LARGEST_DRIFT_LEFT
    });
    let name = evidence.name();
    let (passes, after, confidence, moved, rate) = match descent {
        Some((drift, fit)) => {
            let passes = fit.alpha.round();
            let a = pair
                .a
                .iter()
                .zip(&drift.slope)
                .map(|(a, slope)| a - fit.beta * slope);
            let after = pair.with(a.collect()).divided(passes);
            // Each pass is one step farther back than the next.
            let rate = 2.0 * fit.beta / (passes * (passes - 1.0));
            let moved = format!(
                "the weights moved by gradient descent with a learning rate of about {rate:.1e} between them"
            );
            (passes, after, 0.9, moved, rate)
        }
        None => {
            let passes = scale.round();
            if (scale / passes - 1.0).abs() > LARGEST_DRIFT || !(2.0..=MANY).contains(&passes) {
                return None;
            }
            // From 5 on every number is within 10 % of an integer.
            let confidence = if passes <= 4.0 { 0.6 } else { 0.5 };
            (
                passes,
                pair.divided(passes),
                confidence,
                "something, such as the weights, moved a little between them".to_owned(),
                f64::NAN,
            )
        }
    };
    let mut hypothesis = Hypothesis::new(
        Code::Accumulated,
        after,
        if rate.is_nan() { format!("divided by {passes}") } else { format!("divided by {passes}, without the drift of the weights") },
        format!("{name} is about {passes} times the derivative: it looks like the sum of {passes} backward passes, and {moved}"),
        fix(evidence),
    )
    .confidence(confidence)
    .factor(scale)
    .evidence("remainder", remainder);
    if !rate.is_nan() {
        hypothesis = hypothesis.evidence("learning rate", rate);
    }
    // A mean that was not taken would leave the same weights, and so no remainder.
    Some(hypothesis.settling())
}
