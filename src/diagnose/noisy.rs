//! `noisy`: random errors in every entry.

use super::{
    case::Case,
    errors::Errors,
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
};

/// Above it the gradient is more noise than gradient, and nothing can be said of it.
const LARGEST: f64 = 0.5;
/// Kurtosis of what is about normal, where there are enough entries to tell.
const NORMAL: std::ops::Range<f64> = 2.0..4.5;
/// How much more rows and columns may differ than chance has it.
const ALIKE: f64 = 2.5;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let remainder = case.fit(1.0).remainder;
    if !(remainder < LARGEST) || !case.is_unbiased() {
        return None;
    }
    let looks_random = |errors: &Errors| {
        NORMAL.contains(&errors.kurtosis) && errors.rows < ALIKE && errors.columns < ALIKE
    };
    let alike = Errors::of(case, |_, _, _| 1.0).filter(looks_random);
    let relative = Errors::of(case, |_, g, _| g.abs()).filter(looks_random);
    let (errors, of_what) = match (alike, relative) {
        (Some(alike), _) => (alike, "of one size for all entries"),
        (None, Some(relative)) => (relative, "in proportion to each entry"),
        (None, None) => return None,
    };
    let name = evidence.name();
    Some(
        Hypothesis::new(
            "noisy",
            case.clone(),
            "",
            format!("{name} is the derivative with random errors, {} of it in all and {of_what}: about normal, and without a pattern in rows or columns", number(remainder)),
            "look for noise that is added on purpose (differential privacy, gradient noise), for a stochastic layer, for quantised or compressed gradients, or for a gradient that is itself a finite difference in f32",
        )
        .confidence(0.8)
        .evidence("remainder", remainder)
        .evidence("rms", errors.rms)
        .evidence("kurtosis", errors.kurtosis)
        .settling(),
    )
}
