//! `stale-weights`: the gradient at the weights of one optimiser step before, or after.

use super::{
    case::Case,
    evidence::{Evidence, Layer, cross_entropy},
    hypothesis::{Hypothesis, number},
    model::{refine, regress},
};

/// Of what one factor leaves, the least share that a step of the weights must explain.
const LEAST_SHARE: f64 = 0.5;
/// How far the weights are moved, relative to them, to see where that leads.
const PROBE: f64 = 1e-4;
/// Iterations towards the weights before the step, which are known only by where the step led.
const ITERATIONS: usize = 40;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let drift = Drift::of(evidence)?;
    let fit = regress(case, &drift.slope)?;
    if !(fit.share > LEAST_SHARE) {
        return None;
    }
    let mut direction = drift.direction.clone();
    let mut layer_at = |rate: f64| {
        // Before a step of descent the weights were W + rate·dL/dW, the derivative taken there.
        let mut layer = moved(&evidence.layer, &direction, rate);
        for _ in 0..if rate > 0.0 { ITERATIONS } else { 0 } {
            direction = evidence.layer_gradient(&layer, &cross_entropy);
            let next = moved(&evidence.layer, &direction, rate);
            let step = largest_step(&layer, &next);
            layer = next;
            if step <= 1e-15 {
                break;
            }
        }
        layer
    };
    let start = fit.beta / fit.alpha;
    let rate = refine(case, start, 1e-4 * start, |rate| {
        evidence.predict(&layer_at(rate), &cross_entropy)
    })?;
    let after = evidence.explains(case, &layer_at(rate), &cross_entropy)?;
    let (name, text) = (evidence.name(), number(rate.abs()));
    let (message, fix) = match rate > 0.0 {
        true => (
            format!("{name} is the gradient at the weights before a step of gradient descent with a learning rate of {text}, and the file has the weights after it: they are stale"),
            "save weight and bias before optimizer.step(), next to the gradient that they gave (clone them: step changes them in place)",
        ),
        false => (
            format!("{name} is the gradient at the weights after a step of gradient descent with a learning rate of {text}, and the file has the weights before it: they are stale"),
            "save weight and bias as they are in the forward pass that gives the gradient, not before an optimizer.step()",
        ),
    };
    Some(
        Hypothesis::new(
            "stale-weights",
            after,
            format!("compared at the weights one step of {text} away"),
            message,
            fix,
        )
        .evidence("learning rate", rate),
    )
}

/// How the gradient moves as the weights move up the loss.
pub(super) struct Drift {
    /// dL/dW and dL/db.
    direction: Layer,
    /// The derivative of the gradient along it.
    pub(super) slope: Vec<f64>,
}

impl Drift {
    /// None where the loss is flat.
    pub(super) fn of(evidence: &Evidence) -> Option<Self> {
        let direction = evidence.layer_gradient(&evidence.layer, &cross_entropy);
        let norm = |layer: &Layer| -> f64 {
            let values = layer.weight.iter().chain(&layer.bias);
            values.map(|v| v * v).sum::<f64>().sqrt()
        };
        let step = PROBE * norm(&evidence.layer) / norm(&direction);
        if !step.is_finite() {
            return None;
        }
        let at = |rate| evidence.predict(&moved(&evidence.layer, &direction, rate), &cross_entropy);
        let ahead = at(step).into_iter().zip(at(-step));
        let slope = ahead.map(|(there, back)| (there - back) / (2.0 * step)).collect();
        Some(Self { direction, slope })
    }
}

/// How far two layers are apart, against the largest weight.
fn largest_step(a: &Layer, b: &Layer) -> f64 {
    let largest = a.weight.iter().fold(f64::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
    let weights = a.weight.iter().zip(&b.weight).chain(a.bias.iter().zip(&b.bias));
    weights.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

fn moved(layer: &Layer, direction: &Layer, rate: f64) -> Layer {
    let add = |values: &[f64], by: &[f64]| values.iter().zip(by).map(|(v, d)| v + rate * d).collect();
    Layer {
        weight: add(&layer.weight, &direction.weight),
        bias: add(&layer.bias, &direction.bias),
    }
}
