//! How the gradient moves as the weights move: what an optimiser's steps between two passes leave in it.

use super::{
    evidence::{Drift, Evidence, Layer, cross_entropy},
    model::{Regression, regress},
    pair::Pair,
};

/// Where dL/dW of a draw explains less, that of all explains nothing either; where it explains more it is good enough.
const LEAST_FIRST_SHARE: f64 = 0.2;
const LARGEST_FIRST_SHARE: f64 = 0.98;
/// How far the weights are moved, relative to them, to see where that leads.
const PROBE: f64 = 1e-4;

impl Evidence<'_> {
    /// The drift, and how a is made of g and it; over a draw of the samples where they are many and that is enough.
    pub(super) fn drift_in(&self, pair: &Pair) -> Option<(&Drift, Regression)> {
        let drift = self.drift(true)?;
        let fit = regress(pair, &pair.g, &drift.slope)?;
        let is_clear = !(LEAST_FIRST_SHARE..LARGEST_FIRST_SHARE).contains(&fit.share);
        if is_clear || self.draws_are_all() {
            return Some((drift, fit));
        }
        // There is something: worth a pass over all.
        let drift = self.drift(false)?;
        Some((drift, regress(pair, &pair.g, &drift.slope)?))
    }

    /// As a draw of the samples has it, or all of them; computed once. None where the loss is flat.
    fn drift(&self, first_look: bool) -> Option<&Drift> {
        let drift = || drift(self, &self.samples(first_look));
        self.drifts[usize::from(first_look)]
            .get_or_init(drift)
            .as_ref()
    }
}

fn drift(evidence: &Evidence, samples: &[usize]) -> Option<Drift> {
    let direction = evidence.layer_gradient(&evidence.layer, samples);
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
    let slope = ahead
        .map(|(there, back)| (there - back) / (2.0 * step))
        .collect();
    Some(Drift { direction, slope })
}

/// The layer, so far along a direction.
pub(super) fn moved(layer: &Layer, direction: &Layer, rate: f64) -> Layer {
    let add =
        |values: &[f64], by: &[f64]| values.iter().zip(by).map(|(v, d)| v + rate * d).collect();
    Layer {
        weight: add(&layer.weight, &direction.weight),
        bias: add(&layer.bias, &direction.bias),
    }
}
