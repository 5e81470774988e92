//! `norm-clipped`: scaled down to a round norm.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

/// Number that clip_grad_norm_ adds to the norm before it divides.
const CLIP_EPS: f64 = 1e-6;
/// Largest relative distance from a round norm, whatever the uncertainty. Chosen.
const MOST_OFF: f64 = 1e-3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let scale = pair.scale();
    if !(scale > 0.0 && scale < 1.0 && pair.is_scaled()) {
        return None;
    }
    let norm = evidence.check.tally.sums.analytic_analytic.value().sqrt();
    let limit = nearest_round(norm);
    let off = CLIP_EPS / (norm / scale) + pair.scale_uncertainty().min(MOST_OFF) + 1e-12;
    if !((norm / limit - 1.0).abs() <= off) {
        return None;
    }
    let words = words(evidence, limit, norm, scale);
    Some(
        Hypothesis::new(Code::NormClipped, pair.divided(scale), words)
            .weighing(4.0)
            .factor(scale)
            .evidence("norm", norm),
    )
}

/// Returns the nearest number of one digit, or of two if they are 15, 25 or 75.
fn nearest_round(value: f64) -> f64 {
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

fn words(evidence: &Evidence, limit: f64, norm: f64, scale: f64) -> Words {
    let (name, limit, right) = (evidence.name(), number(limit), number(norm / scale));
    Words {
        message: format!(
            "{name} has the right direction but a norm of {limit}, while that of the correct \
             gradient is {right}: it was clipped to a norm of {limit}"
        ),
        correction: format!("divided by {}", number(scale)),
        fix: "read the gradient before torch.nn.utils.clip_grad_norm_ (or \
              optax.clip_by_global_norm), which changes it in place"
            .into(),
        test: Some("double the loss: a clipped gradient keeps its norm".into()),
    }
}
