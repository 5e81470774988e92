//! `stale-weights`: the gradient at the weights before or after an optimizer step.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        layer::{Descent, Layer},
        least_squares::refine,
        losses::cross_entropy,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

/// Least share of the errors that a step of the weights must explain. Chosen.
const LEAST_SHARE: f64 = 0.5;
/// The same if dL/dW covers only a draw of the samples and the rate is not refined. Chosen.
const LEAST_SHARE_OF_DRAW: f64 = 0.9;
/// Multiple of the right gradient in a single pass; several passes sum to more. Chosen.
const ONE_PASS: std::ops::Range<f64> = 0.5..1.5;
/// Step of the finite difference in the rate, relative to the rate. Chosen.
const PROBE: f64 = 1e-4;
/// Most iterations for the weights before a step. Chosen.
const ITERATIONS: usize = 40;
/// Relative change of the weights at which the iterations have converged. Chosen.
const CONVERGED: f64 = 1e-14;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (descent, fit) = evidence.descent_in(pair)?;
    if !(fit.share > LEAST_SHARE && ONE_PASS.contains(&fit.alpha)) {
        return None;
    }
    let start = fit.beta / fit.alpha;
    if !evidence.draws_are_all() {
        // Solving for the rate would take dozens of passes over all samples.
        let after = pair.less(fit.beta, &descent.slope).divided(fit.alpha);
        return (fit.share > LEAST_SHARE_OF_DRAW).then(|| {
            hypothesis(evidence, after, start)
                .confidence(0.7)
                .settling()
        });
    }
    let mut direction = descent.direction.clone();
    let mut layer_at = |rate: f64| layer_at(evidence, descent, &mut direction, rate);
    let rate = refine(pair, start, PROBE * start, |rate| {
        evidence.predict(&layer_at(rate), &cross_entropy)
    })?;
    let after = evidence.explains(pair, &layer_at(rate), &cross_entropy)?;
    Some(hypothesis(evidence, after, rate))
}

/// Returns the layer that is one step of `rate` away from the file's.
///
/// A negative rate is a step down from the file's weights, along their own derivative. A positive
/// one is the step that led to them from W + rate·dL/dW, with the derivative taken there. Those
/// weights are the fixed point of an iteration, which starts from the last `direction`.
fn layer_at(evidence: &Evidence, descent: &Descent, direction: &mut Layer, rate: f64) -> Layer {
    if rate <= 0.0 {
        return evidence.layer.stepped(&descent.direction, rate);
    }
    let samples = evidence.samples(false);
    let mut layer = evidence.layer.stepped(direction, rate);
    for _ in 0..ITERATIONS {
        *direction = evidence.layer_gradient(&layer, &samples);
        let next = evidence.layer.stepped(direction, rate);
        let change = layer.distance(&next);
        layer = next;
        if change <= CONVERGED {
            break;
        }
    }
    layer
}

/// Proposes the cause for a gradient taken a step of `rate` before the file's weights, or after
/// them if it is negative.
fn hypothesis(evidence: &Evidence, after: Pair, rate: f64) -> Hypothesis {
    Hypothesis::new(Code::StaleWeights, after, words(evidence, rate))
        .evidence("learning rate", rate)
}

fn words(evidence: &Evidence, rate: f64) -> Words {
    let (name, text) = (evidence.name(), number(rate.abs()));
    let (gradient, file, fix) = if rate > 0.0 {
        (
            "before",
            "after",
            "save weight and bias before optimizer.step(), together with the gradient that they \
             gave (clone them: step changes them in place)",
        )
    } else {
        (
            "after",
            "before",
            "save weight and bias as they are in the forward pass that gives the gradient, not \
             before an optimizer.step()",
        )
    };
    Words {
        message: format!(
            "{name} is the gradient at the weights {gradient} a gradient descent step with \
             learning rate {text}, but the file has the weights {file} it"
        ),
        correction: format!("compared at the weights one step of {text} away"),
        fix: fix.into(),
        ..Words::default()
    }
}
