//! One factor between the gradient and the derivative.

use super::{evidence::Evidence, pair::Pair};
use crate::{
    loss::{CrossEntropy, Reduction},
    report::Code,
};

/// The pair divided by `factor`, if that leaves nothing.
pub(super) fn undone(pair: &Pair, factor: f64) -> Option<Pair> {
    if pair.is_explained() || !is_near(pair, factor) || !pair.is_scaled() {
        return None;
    }
    let after = pair.divided(factor);
    after.is_explained().then_some(after)
}

/// The pair divided by one of the problem's factors of that name, and the factor, if that leaves nothing.
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

/// Whether the one factor that fits best is this one, as far as rounding lets it be known.
pub(super) fn is_near(pair: &Pair, factor: f64) -> bool {
    factor != 1.0 && (pair.scale() / factor - 1.0).abs() <= pair.scale_uncertainty()
}

/// The integer that a number is, if it is one of at least 2 and rounding leaves no room for another.
pub(super) fn integer(value: f64, uncertainty: f64) -> Option<f64> {
    let integer = value.round();
    let is = integer >= 2.0 && (value - integer).abs() <= uncertainty * integer;
    (is && uncertainty * integer < 0.3).then_some(integer)
}

/// The factors that the problem itself suggests, by the code of the rule that has them.
pub(super) fn of_problem(evidence: &Evidence) -> Vec<(Code, f64)> {
    let z = evidence.problem.normalizer();
    let (valid, all) = evidence.valid_rows();
    let mut factors = Vec::new();
    let mut add = |code: Code, factor: f64| {
        if (factor - 1.0).abs() > 1e-9 && factor > 0.0 {
            factors.push((code, factor));
        }
    };
    if evidence.is_mean() {
        add(Code::SumInsteadOfMean, z);
        if z != valid {
            add(Code::SumInsteadOfMean, valid);
        }
        add(Code::MeanInsteadOfSum, 1.0 / z);
        add(Code::DividedByAllRows, valid / all);
        add(Code::DividedByCountNotWeights, z / valid);
    } else {
        // What a mean would have divided by.
        let mean = CrossEntropy {
            reduction: Reduction::Mean,
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

/// Whether a factor is one of those that a bug leaves: a small integer or the inverse of one, or a loss scale.
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
    fn integers_are_named_only_where_rounding_leaves_no_other() {
        assert_eq!(integer(10.0 + 1e-9, 1e-8), Some(10.0));
        assert_eq!(integer(10.4, 1e-8), None);
        assert_eq!(integer(1.0, 1e-8), None);
        // 3 % of 100 is three integers.
        assert_eq!(integer(100.0, 0.03), None);
    }

    #[test]
    fn factors_that_bugs_leave_are_told_from_others() {
        let telling = [10.0, 0.25, 65536.0, -1.0];
        assert!(telling.iter().all(|factor| is_telling(*factor, 1e-9)));
        let others = [2.7, 0.37, 50.0, 1.0 / 17.0];
        assert!(!others.iter().any(|factor| is_telling(*factor, 1e-9)));
    }
}
