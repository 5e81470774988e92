//! One factor between the gradient under test and the right one.

use super::{evidence::Evidence, pair::Pair};
use crate::{
    loss::{CrossEntropy, Reduction},
    report::Code,
};

/// Relative difference up to which a factor of the problem counts as 1. Chosen.
const SAME: f64 = 1e-9;
/// Absolute uncertainty from which a number may be several integers. Chosen.
const VAGUE: f64 = 0.3;

/// Returns the pair divided by `factor`, if that leaves no error.
pub(super) fn undone(pair: &Pair, factor: f64) -> Option<Pair> {
    if pair.is_explained() || !is_near(pair, factor) || !pair.is_scaled() {
        return None;
    }
    let after = pair.divided(factor);
    after.is_explained().then_some(after)
}

/// Divides the pair by the first of the problem's factors with this code that leaves no error.
/// Returns the pair and the factor.
pub(super) fn undone_of_problem(
    evidence: &Evidence,
    pair: &Pair,
    code: Code,
) -> Option<(Pair, f64)> {
    of_problem(evidence)
        .into_iter()
        .filter(|(of, _)| *of == code)
        .find_map(|(_, factor)| Some((undone(pair, factor)?, factor)))
}

/// Returns true if the pair's scale equals `factor` within rounding, and `factor` is not 1.
pub(super) fn is_near(pair: &Pair, factor: f64) -> bool {
    factor != 1.0 && (pair.scale() / factor - 1.0).abs() <= pair.scale_uncertainty()
}

/// Rounds a number to an integer of at least 2. Returns `None` if its relative uncertainty covers
/// no integer or more than one.
pub(super) fn integer(value: f64, uncertainty: f64) -> Option<f64> {
    let integer = value.round();
    let is = integer >= 2.0 && (value - integer).abs() <= uncertainty * integer;
    (is && uncertainty * integer < VAGUE).then_some(integer)
}

/// Returns the factors that the problem itself suggests, each with the code of its rule.
pub(super) fn of_problem(evidence: &Evidence) -> Vec<(Code, f64)> {
    let z = evidence.problem.normalizer();
    let (valid, all) = evidence.valid_rows();
    let mut factors = Vec::new();
    let mut add = |code: Code, factor: f64| {
        if (factor - 1.0).abs() > SAME && factor > 0.0 {
            factors.push((code, factor));
        }
    };
    if evidence.is_mean() {
        add(Code::SumInsteadOfMean, z);
        if z != valid {
            add(Code::SumInsteadOfMean, valid);
        }
        add(Code::MeanInsteadOfSum, 1.0 / z);
        // A given normalizer does not count the rows.
        if evidence.problem.loss().normalizer.is_none() {
            add(Code::DividedByAllRows, valid / all);
        }
        add(Code::DividedByCountNotWeights, z / valid);
    } else {
        let mean = CrossEntropy {
            reduction: Reduction::Mean,
            normalizer: None,
            ..evidence.problem.loss().clone()
        };
        let weights = evidence
            .problem
            .with_loss(mean)
            .map(|mean| mean.normalizer());
        add(Code::MeanInsteadOfSum, 1.0 / all);
        if valid != all {
            add(Code::MeanInsteadOfSum, 1.0 / valid);
        }
        if let Some(weights) = weights.filter(|weights| *weights != valid) {
            add(Code::MeanInsteadOfSum, 1.0 / weights);
        }
    }
    add(Code::DividedByClasses, 1.0 / evidence.problem.k() as f64);
    factors
}

/// Returns true for a factor that bugs often leave: an integer up to 20, the inverse of one up to
/// 8, a power of two from 2^8, or -1. The limits are chosen.
pub(super) fn is_telling(factor: f64, uncertainty: f64) -> bool {
    let small =
        |value: f64, most: f64| integer(value, uncertainty).is_some_and(|integer| integer <= most);
    let power = factor.log2().round();
    let is_loss_scale = power >= 8.0 && (factor / power.exp2() - 1.0).abs() <= uncertainty;
    small(factor, 20.0)
        || small(1.0 / factor, 8.0)
        || is_loss_scale
        || (factor + 1.0).abs() <= uncertainty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_named_only_if_rounding_leaves_no_other() {
        assert_eq!(integer(10.0 + 1e-9, 1e-8), Some(10.0));
        assert_eq!(integer(10.4, 1e-8), None);
        assert_eq!(integer(1.0, 1e-8), None);
        // 3 % of 100 covers several integers.
        assert_eq!(integer(100.0, 0.03), None);
    }

    #[test]
    fn usual_factors_are_distinguished_from_others() {
        let telling = [10.0, 0.25, 65536.0, -1.0];
        assert!(telling.iter().all(|factor| is_telling(*factor, 1e-9)));
        let others = [2.7, 0.37, 50.0, 1.0 / 17.0];
        assert!(!others.iter().any(|factor| is_telling(*factor, 1e-9)));
    }
}
