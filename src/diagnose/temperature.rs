//! `temperature`: logits that were divided by a temperature.

use super::{
    evidence::{Datum, Evidence, softmax},
    factor,
    hypothesis::{Hypothesis, number},
    model::refine,
    pair::Pair,
};
use crate::report::Code;

/// The highest temperature, and the inverse of the lowest.
const MOST: f64 = 64.0;
/// Where the search begins: powers of two of the temperature.
const STARTS: [f64; 10] = [-4.0, -3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0];

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let at = |temperature: f64| {
        move |sample: &Datum, soft: &mut [f64], hard: &mut [f64]| {
            let logits = soft.iter_mut().zip(sample.logits);
            logits.for_each(|(soft, z)| *soft = z / temperature);
            softmax(soft);
            soft.iter_mut().for_each(|soft| *soft *= sample.total);
            hard.copy_from_slice(sample.target);
        }
    };
    let predict = |log: f64| evidence.predict(&evidence.layer, &at(log.exp2()));
    let cosine = |log: f64| pair.cosine_with(&predict(log));
    let (start, best) = STARTS
        .into_iter()
        .map(|log| (log, cosine(log)))
        .filter(|(_, cosine)| cosine.is_finite())
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    if !(best > pair.cosine() && best > 0.8) {
        return None;
    }
    let temperature = refine(pair, start, 1e-5, predict)?.exp2();
    // Far out the softmax is uniform, or one-hot, which other losses give as well.
    if !(1.0 / MOST..=MOST).contains(&temperature) {
        return None;
    }
    let round = (temperature * 100.0).round() / 100.0;
    let near = (temperature / round - 1.0).abs() < 1e-3;
    let (after, temperature) = [round, temperature]
        .into_iter()
        .filter(|t| *t > 0.0 && (near || *t != round))
        .find_map(|t| Some((evidence.explains(pair, &evidence.layer, &at(t))?, t)))?;
    // With the chain rule's 1/T, or without.
    let chained = after.divided(1.0 / temperature);
    let (name, text) = (evidence.name(), number(temperature));
    let (after, message) = if chained.is_explained() {
        (
            chained,
            format!(
                "{name} is the gradient of the loss at a temperature of {text}, cross_entropy(logits / {text}), and the file says nothing of one"
            ),
        )
    } else if after.is_explained() {
        (
            after,
            format!(
                "{name} takes the softmax of logits / {text}, and leaves out the factor 1/{text} that the chain rule asks for"
            ),
        )
    } else {
        // A factor besides, which the next finding explains: of the two forms the one that leaves a factor of the problem.
        let is_known = |pair: &Pair| {
            factor::of_problem(evidence)
                .iter()
                .any(|(_, factor)| factor::is_near(pair, *factor))
        };
        let after = if is_known(&chained) { chained } else { after };
        (
            after,
            format!(
                "{name} takes the softmax of logits / {text}, and the file says nothing of a temperature"
            ),
        )
    };
    Some(
        Hypothesis::new(
            Code::Temperature,
            after,
            format!("compared at a temperature of {text}"),
            message,
            format!("take the temperature out of the loss while checking, or save weight and bias divided by {text}, which is the layer that the loss saw, with its own gradient"),
        )
        .evidence("temperature", temperature),
    )
}
