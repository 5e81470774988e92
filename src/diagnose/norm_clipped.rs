//! `norm-clipped`: shortened to a round length.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

/// What clip_grad_norm_ adds to the norm before it divides.
const CLIP_EPS: f64 = 1e-6;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    if !(scale > 0.0 && scale < 1.0 && pair.is_scaled()) {
        return None;
    }
    let norm = evidence.check.tally.sums.analytic_analytic.value().sqrt();
    let longest = round(norm);
    let slack = CLIP_EPS / (norm / scale) + pair.scale_uncertainty().min(1e-3) + 1e-12;
    if !((norm / longest - 1.0).abs() <= slack) {
        return None;
    }
    let after = pair.divided(scale);
    let (name, length) = (evidence.name(), number(longest));
    Some(
        Hypothesis::new(
            Code::NormClipped,
            after,
            format!("divided by {}", number(scale)),
            format!("{name} points the right way and has a norm of {length}, where the derivative's is {}: it was clipped to a norm of {length}", number(norm / scale)),
            "read the gradient before torch.nn.utils.clip_grad_norm_ (or optax.clip_by_global_norm), which changes it in place",
        )
        .weighing(4.0)
        .factor(scale)
        .evidence("norm", norm)
        .test("double the loss: a clipped gradient keeps its norm"),
    )
}

/// The nearest number with one digit, or with 25 or 75 for two.
fn round(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let digits = [
        1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.0, 9.0, 10.0,
    ];
    let nearer = |a: &f64, b: &f64| {
        let off = |digit: f64| (digit * decade - value).abs();
        off(*a).total_cmp(&off(*b))
    };
    digits.into_iter().min_by(nearer).unwrap_or(1.0) * decade
}
