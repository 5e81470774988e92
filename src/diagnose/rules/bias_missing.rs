//! `bias-missing`: the layer without its bias, or with another one.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        layer::Layer,
        least_squares::solve,
        losses::cross_entropy,
        pair::{Live, Pair},
        words::{Words, number},
    },
    report::Code,
};

/// Most classes for which a bias is solved: each costs one prediction per step. Chosen.
const MOST_CLASSES: usize = 64;
/// Least number of entries for each unknown. Chosen.
const ENTRIES_PER_CLASS: usize = 6;
/// Least cosine with the right gradient. Chosen.
const LEAST_COSINE: f64 = 0.5;
/// Largest difference from the file's bias. Chosen: a larger one makes the softmax one-hot, as
/// other losses do.
const LARGEST: f64 = 6.0;
/// Gauss-Newton steps. Chosen.
const STEPS: usize = 12;
/// Step of the finite difference with respect to the bias. Chosen.
const PROBE: f64 = 1e-5;
/// Largest share of the errors that the first step may leave. Chosen: if it leaves more, another
/// step is not worth its time.
const LARGEST_FIRST_REST: f64 = 0.7;

/// Tests a gradient without the bias that the file has.
pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let bias = &evidence.layer.bias;
    // A constant bias does not change the softmax.
    if bias.iter().all(|b| *b == bias[0]) {
        return None;
    }
    let without = Layer {
        weight: evidence.layer.weight.clone(),
        bias: vec![0.0; bias.len()],
    };
    let after = evidence.explains(pair, &without, &cross_entropy)?;
    Some(Hypothesis::new(Code::BiasMissing, after, words(evidence)))
}

/// Tests a gradient with a bias that the file does not have, by solving for it.
pub(super) fn another(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let k = evidence.problem.k();
    let entries = pair.live().count();
    if k > MOST_CLASSES || entries < ENTRIES_PER_CLASS * k || pair.cosine() < LEAST_COSINE {
        return None;
    }
    let layer = fitted(evidence, pair);
    let after = evidence.explains(pair, &layer, &cross_entropy)?;
    if !after.is_explained() {
        return None;
    }
    let offs = layer
        .bias
        .iter()
        .zip(&evidence.layer.bias)
        .map(|(new, old)| new - old);
    let mean = offs.clone().sum::<f64>() / k as f64;
    let largest = offs.map(|off| (off - mean).abs()).fold(0.0, f64::max);
    if largest > LARGEST {
        return None;
    }
    Some(
        Hypothesis::new(
            Code::BiasMissing,
            after,
            words_of_another(evidence, largest),
        )
        .confidence(0.9)
        .evidence("largest difference", largest),
    )
}

/// Returns the layer with the bias that fits best.
fn fitted(evidence: &Evidence, pair: &Pair) -> Layer {
    let k = evidence.problem.k();
    let mut layer = Layer::clone(&evidence.layer);
    let mut left = f64::INFINITY;
    for step in 0..STEPS {
        let here = evidence.predict(&layer, &cross_entropy);
        let rest = distance(pair, &here);
        // The iteration has converged, or it diverges.
        if !(rest < left) || (step == 1 && rest > LARGEST_FIRST_REST * left) {
            break;
        }
        left = rest;
        let slope = |class: usize| -> Vec<f64> {
            let mut probe = layer.clone();
            probe.bias[class] += PROBE;
            let there = evidence.predict(&probe, &cross_entropy);
            let entries = there.iter().zip(&here);
            entries
                .map(|(there, here)| (there - here) / PROBE)
                .collect()
        };
        let slopes: Vec<Vec<f64>> = (0..k).map(slope).collect();
        let by = solve(pair, &slopes, &here);
        // A constant does not change the softmax, but would widen the bounds.
        let mean = by.iter().sum::<f64>() / k as f64;
        let bias = layer.bias.iter_mut().zip(by);
        bias.for_each(|(bias, by)| *bias += by - mean);
    }
    layer
}

fn distance(pair: &Pair, g: &[f64]) -> f64 {
    let squares = pair
        .live()
        .map(|Live { entry, a, .. }| (a - g[entry]).powi(2));
    squares.sum::<f64>().sqrt()
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!("{name} is the gradient of the layer without its bias"),
        correction: "compared without the bias".into(),
        fix: "add the bias in the forward pass (x @ weight.T + bias), or remove it from the file \
              if the layer has none"
            .into(),
        ..Words::default()
    }
}

fn words_of_another(evidence: &Evidence, largest: f64) -> Words {
    let (name, largest) = (evidence.name(), number(largest));
    let (message, fix) = if evidence.problem.has_bias() {
        (
            format!(
                "{name} is the gradient of the layer with another bias, which differs from the \
                 file's by up to {largest}"
            ),
            "save the bias that the forward pass used: the file's belongs to another step or \
             layer, or was changed in place",
        )
    } else {
        (
            format!(
                "{name} is the gradient of a layer with a bias of up to {largest} in magnitude, \
                 but the file has none"
            ),
            "save the layer's bias in the file, as bias",
        )
    };
    Words {
        message,
        correction: "compared with the bias that fits".into(),
        fix: fix.into(),
        ..Words::default()
    }
}
