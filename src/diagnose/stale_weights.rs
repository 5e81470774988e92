//! `stale-weights`: the gradient at the weights of one optimiser step before, or after.

use super::{
    drift::moved,
    evidence::{Evidence, Layer, cross_entropy},
    hypothesis::{Hypothesis, number},
    model::refine,
    pair::Pair,
};
use crate::report::Code;

/// Of what one factor leaves, the least share that a step of the weights must explain.
const LEAST_SHARE: f64 = 0.5;
/// The same where dL/dW is that of a draw, and nothing more is done.
const LEAST_SHARE_OF_DRAW: f64 = 0.9;
/// Iterations towards the weights before the step, which are known only by where the step led.
const ITERATIONS: usize = 40;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (drift, fit) = evidence.drift_in(pair)?;
    // Several passes would be a sum.
    if !(fit.share > LEAST_SHARE && (0.5..1.5).contains(&fit.alpha)) {
        return None;
    }
    let start = fit.beta / fit.alpha;
    let all = evidence.samples(false);
    if !evidence.draws_are_all() {
        // To solve for the rate takes dozens of passes over all samples.
        let a = pair
            .a
            .iter()
            .zip(&drift.slope)
            .map(|(a, slope)| a - fit.beta * slope);
        let after = pair.with(a.collect()).divided(fit.alpha);
        return (fit.share > LEAST_SHARE_OF_DRAW).then(|| {
            hypothesis(evidence, after, start)
                .confidence(0.7)
                .settling()
        });
    }
    let mut direction = drift.direction.clone();
    let mut layer_at = |rate: f64| {
        if rate <= 0.0 {
            return moved(&evidence.layer, &drift.direction, rate);
        }
        // Before a step of descent the weights were W + rate·dL/dW, the derivative taken there.
        let mut layer = moved(&evidence.layer, &direction, rate);
        for _ in 0..ITERATIONS {
            direction = evidence.layer_gradient(&layer, &all);
            let next = moved(&evidence.layer, &direction, rate);
            let step = largest_step(&layer, &next);
            layer = next;
            if step <= 1e-14 {
                break;
            }
        }
        layer
    };
    let rate = refine(pair, start, 1e-4 * start, |rate| {
        evidence.predict(&layer_at(rate), &cross_entropy)
    })?;
    let after = evidence.explains(pair, &layer_at(rate), &cross_entropy)?;
    Some(hypothesis(evidence, after, rate))
}

/// Of a gradient that was taken a step of `rate` away, back if it is positive.
fn hypothesis(evidence: &Evidence, after: Pair, rate: f64) -> Hypothesis {
    let (name, text) = (evidence.name(), number(rate.abs()));
    let (message, fix) = if rate > 0.0 {
        (
            format!(
                "{name} is the gradient at the weights before a step of gradient descent with a learning rate of {text}, and the file has the weights after it: they are stale"
            ),
            "save weight and bias before optimizer.step(), next to the gradient that they gave (clone them: step changes them in place)",
        )
    } else {
        (
            format!(
                "{name} is the gradient at the weights after a step of gradient descent with a learning rate of {text}, and the file has the weights before it: they are stale"
            ),
            "save weight and bias as they are in the forward pass that gives the gradient, not before an optimizer.step()",
        )
    };
    Hypothesis::new(
        Code::StaleWeights,
        after,
        format!("compared at the weights one step of {text} away"),
        message,
        fix,
    )
    .evidence("learning rate", rate)
}

/// How far two layers are apart, against the largest weight.
fn largest_step(a: &Layer, b: &Layer) -> f64 {
    let largest = a
        .weight
        .iter()
        .fold(f64::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
    let weights = a
        .weight
        .iter()
        .zip(&b.weight)
        .chain(a.bias.iter().zip(&b.bias));
    weights.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}
