//! `temperature`: logits divided by a temperature.

use crate::{
    diagnose::{
        evidence::Evidence,
        factor,
        hypothesis::Hypothesis,
        least_squares::refine,
        losses::{Datum, softmax},
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

/// Highest temperature, and inverse of the lowest. Chosen.
const MOST: f64 = 64.0;
/// Binary logarithms of the temperatures at which the search starts. Chosen.
const STARTS: [f64; 10] = [-4.0, -3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0];
/// Least cosine at the best start. Chosen.
const LEAST_COSINE: f64 = 0.8;
/// Step of the finite difference in the logarithm. Chosen.
const PROBE: f64 = 1e-5;
/// Largest relative distance of a temperature from the nearest hundredth, which people choose.
const NEAR: f64 = 1e-3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let predict = |log: f64| evidence.predict(&evidence.layer, &at(log.exp2()));
    let (start, best) = STARTS
        .into_iter()
        .map(|log| (log, pair.cosine_with(&predict(log))))
        .filter(|(_, cosine)| cosine.is_finite())
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    if !(best > pair.cosine() && best > LEAST_COSINE) {
        return None;
    }
    let temperature = refine(pair, start, PROBE, predict)?.exp2();
    if !(1.0 / MOST..=MOST).contains(&temperature) {
        return None;
    }
    let round = (temperature * 100.0).round() / 100.0;
    let is_near = (temperature / round - 1.0).abs() < NEAR;
    let (after, temperature) = [round, temperature]
        .into_iter()
        .filter(|t| *t > 0.0 && (is_near || *t != round))
        .find_map(|t| Some((evidence.explains(pair, &evidence.layer, &at(t))?, t)))?;
    let (after, form) = form(evidence, after, temperature);
    let words = words(evidence, temperature, form);
    Some(Hypothesis::new(Code::Temperature, after, words).evidence("temperature", temperature))
}

/// Returns the loss at a temperature, without the chain rule's factor.
fn at(temperature: f64) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
    move |sample: &Datum, soft: &mut [f64], hard: &mut [f64]| {
        let logits = soft.iter_mut().zip(sample.logits);
        logits.for_each(|(soft, z)| *soft = z / temperature);
        softmax(soft);
        soft.iter_mut().for_each(|soft| *soft *= sample.total);
        hard.copy_from_slice(sample.target);
    }
}

/// The factor that a gradient at a temperature has.
enum Form {
    /// 1/T, by the chain rule.
    Chained,
    /// 1: the chain rule is missing.
    Unchained,
    /// Another factor, which the next finding explains.
    Other,
}

/// Returns the form of a gradient at a temperature, and the pair in that form. If both forms leave
/// a factor, prefers the one that leaves a factor of the problem.
fn form(evidence: &Evidence, unchained: Pair, temperature: f64) -> (Pair, Form) {
    let chained = unchained.divided(1.0 / temperature);
    if chained.is_explained() {
        return (chained, Form::Chained);
    }
    if unchained.is_explained() {
        return (unchained, Form::Unchained);
    }
    let mut known = factor::of_problem(evidence).into_iter();
    let after = if known.any(|(_, factor)| factor::is_near(&chained, factor)) {
        chained
    } else {
        unchained
    };
    (after, Form::Other)
}

fn words(evidence: &Evidence, temperature: f64, form: Form) -> Words {
    let (name, t) = (evidence.name(), number(temperature));
    let message = match form {
        Form::Chained => format!(
            "{name} is the gradient of the loss at temperature {t}, cross_entropy(logits / {t}), \
             but the file declares no temperature"
        ),
        Form::Unchained => format!(
            "{name} takes the softmax of logits / {t}, but lacks the chain rule's factor 1/{t}"
        ),
        Form::Other => format!(
            "{name} takes the softmax of logits / {t}, but the file declares no temperature"
        ),
    };
    Words {
        message,
        correction: format!("compared at a temperature of {t}"),
        fix: format!(
            "remove the temperature from the loss while checking, or save weight and bias divided \
             by {t}, the layer that the loss saw, with that layer's gradient"
        ),
        ..Words::default()
    }
}
