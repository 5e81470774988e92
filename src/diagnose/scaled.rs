//! `scaled`: one factor that is none of the well-known ones; or two of them at once.

use super::{
    accumulated, divided_by_all_rows, divided_by_classes, divided_by_count,
    evidence::Evidence,
    factor,
    hypothesis::{Hypothesis, number},
    mean_instead_of_sum,
    pair::Pair,
    sum_instead_of_mean,
};
use crate::report::Code;

/// The most that a factor may leave of the errors.
const LARGEST_REST: f64 = 0.5;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    if !pair.is_scaled() || pair.is_explained() {
        return None;
    }
    // In half precision nearly anything near 1 is allowed: the factor must make a difference.
    if pair.fit(scale).remainder > LARGEST_REST * pair.fit(1.0).remainder {
        return None;
    }
    two_factors(evidence, pair).or_else(|| {
        let integer = factor::integer(scale, pair.scale_uncertainty());
        match integer.filter(|passes| *passes < 1e4) {
            Some(passes) => Some(accumulated::hypothesis(
                evidence,
                factor::undone(pair, passes)?,
                passes,
            )),
            None => Some(scaled(evidence, pair, scale)),
        }
    })
}

/// The factor that the problem suggests, where what it leaves is a factor that a bug leaves too.
fn two_factors(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let uncertainty = pair.scale_uncertainty();
    let known = factor::of_problem(evidence);
    let (code, factor) = known.iter().copied().find(|(_, factor)| {
        let rest = pair.scale() / factor;
        let is_known = |other: &(Code, f64)| (rest / other.1 - 1.0).abs() <= uncertainty;
        // Where s is known to a percent only, something always fits.
        uncertainty < 1e-3 && (factor::is_telling(rest, uncertainty) || known.iter().any(is_known))
    })?;
    let after = pair.divided(factor);
    Some(
        match code {
            Code::SumInsteadOfMean => sum_instead_of_mean::hypothesis(evidence, after, factor),
            Code::MeanInsteadOfSum => mean_instead_of_sum::hypothesis(evidence, after, factor),
            Code::DividedByAllRows => divided_by_all_rows::hypothesis(evidence, after),
            Code::DividedByCountNotWeights => divided_by_count::hypothesis(evidence, after),
            _ => divided_by_classes::hypothesis(evidence, after),
        }
        .confidence(0.8),
    )
}

fn scaled(evidence: &Evidence, pair: &Pair, scale: f64) -> Hypothesis {
    let (name, text) = (evidence.name(), number(scale));
    Hypothesis::new(
        Code::Scaled,
        pair.divided(scale),
        format!("divided by {text}"),
        format!("{name} is {text} times the derivative everywhere: one factor, which is none that the problem suggests"),
        "look for a constant that multiplies or divides the loss or the gradient: a loss weight, a learning rate, a temperature, a clipped global norm",
    )
    // Two numbers that sum to 0 are always a multiple of two others.
    .confidence(if pair.is_informative() && pair.rows() > 1 && pair.scale_uncertainty() < 1e-4 { 0.95 } else { 0.6 })
    .factor(scale)
}
