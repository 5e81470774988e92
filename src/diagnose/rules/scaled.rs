//! `scaled`: one factor that no other rule names, or two factors at once.

use super::{
    accumulated, divided_by_all_rows, divided_by_classes, divided_by_count, mean_instead_of_sum,
    sum_instead_of_mean,
};
use crate::{
    diagnose::{
        evidence::Evidence,
        factor,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

/// Largest share of the errors that the factor may leave. Chosen: the bounds of half precision
/// allow nearly any factor near 1, so dividing by it must reduce the errors.
const LARGEST_REST: f64 = 0.5;
/// Largest number of accumulated passes. Chosen.
const MOST_PASSES: f64 = 1e4;
/// Uncertainty above which some product of two factors always fits. Chosen.
const VAGUE: f64 = 1e-3;
/// Uncertainty below which the factor is certain. Chosen.
const CERTAIN: f64 = 1e-4;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    if !pair.is_scaled() || pair.is_explained() {
        return None;
    }
    if pair.fit(scale).remainder > LARGEST_REST * pair.fit(1.0).remainder {
        return None;
    }
    if let Some(first) = two_factors(evidence, pair) {
        return Some(first);
    }
    let integer = factor::integer(scale, pair.scale_uncertainty());
    match integer.filter(|passes| *passes < MOST_PASSES) {
        Some(passes) => Some(accumulated::hypothesis(
            evidence,
            factor::undone(pair, passes)?,
            passes,
        )),
        None => Some(scaled(evidence, pair, scale)),
    }
}

/// Proposes a factor that the problem suggests, if it leaves a second factor that bugs often leave.
fn two_factors(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let uncertainty = pair.scale_uncertainty();
    let known = factor::of_problem(evidence);
    let (code, factor) = known.iter().copied().find(|(_, factor)| {
        let rest = pair.scale() / factor;
        let is_known = |other: &(Code, f64)| (rest / other.1 - 1.0).abs() <= uncertainty;
        let is_known = factor::is_telling(rest, uncertainty) || known.iter().any(is_known);
        uncertainty < VAGUE && is_known
    })?;
    let after = pair.divided(factor);
    let hypothesis = match code {
        Code::SumInsteadOfMean => sum_instead_of_mean::hypothesis(evidence, after, factor),
        Code::MeanInsteadOfSum => mean_instead_of_sum::hypothesis(evidence, after, factor),
        Code::DividedByAllRows => divided_by_all_rows::hypothesis(evidence, after),
        Code::DividedByCountNotWeights => divided_by_count::hypothesis(evidence, after),
        _ => divided_by_classes::hypothesis(evidence, after),
    };
    Some(hypothesis.confidence(0.8))
}

/// Proposes the factor alone. The confidence is lower for a single row, and for rows of two numbers
/// that sum to 0, which are always multiples of each other.
fn scaled(evidence: &Evidence, pair: &Pair, scale: f64) -> Hypothesis {
    let is_certain = pair.is_informative() && pair.rows() > 1 && pair.scale_uncertainty() < CERTAIN;
    Hypothesis::new(Code::Scaled, pair.divided(scale), words(evidence, scale))
        .confidence(if is_certain { 0.95 } else { 0.6 })
        .factor(scale)
}

fn words(evidence: &Evidence, scale: f64) -> Words {
    let (name, factor) = (evidence.name(), number(scale));
    Words {
        message: format!(
            "{name} is {factor} times the correct gradient everywhere, a factor that nothing in \
             the problem suggests"
        ),
        correction: format!("divided by {factor}"),
        fix: "look for a constant that multiplies or divides the loss or the gradient: a loss \
              weight, a learning rate, a temperature, or clipping by a global norm"
            .into(),
        ..Words::default()
    }
}
