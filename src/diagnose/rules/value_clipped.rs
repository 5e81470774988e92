//! `value-clipped`: no entry beyond a bound, and several at it.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::{Live, Pair},
        words::{Words, number},
    },
    report::Code,
};

/// Least number of entries at the bound; two may share a value by chance. Chosen.
const LEAST: usize = 3;
/// Least number of entries at a round bound. Chosen.
const LEAST_AT_ROUND: usize = 2;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let bound = pair.live().fold(0.0f64, |bound, it| bound.max(it.a.abs()));
    let at_bound = |a: f64| a.abs() == bound;
    let clipped: Vec<Live> = pair.live().filter(|it| at_bound(it.a)).collect();
    let is_beyond = |it: &Live| it.g * it.a.signum() >= bound - it.allowed;
    // With two classes the entries of one are minus those of the other.
    let least = match (is_round(bound), evidence.problem.k()) {
        (_, 2) => 2 * LEAST,
        (true, _) => LEAST_AT_ROUND,
        _ => LEAST,
    };
    if bound == 0.0 || clipped.len() < least || !clipped.iter().all(is_beyond) {
        return None;
    }
    let after = pair.without(|entry| at_bound(pair.a[entry]));
    // If every large entry is clipped, the remaining entries prove nothing.
    if !after.is_explained() || !after.is_informative() {
        return None;
    }
    let words = words(evidence, bound, clipped.len());
    Some(
        Hypothesis::new(Code::ValueClipped, after, words)
            .evidence("bound", bound)
            .evidence("entries", clipped.len() as f64),
    )
}

/// Returns true for a number of one or two digits, as people choose bounds.
fn is_round(bound: f64) -> bool {
    let digits = format!("{bound:.5e}");
    digits
        .split('e')
        .next()
        .is_some_and(|digits| digits.ends_with("0000"))
}

fn words(evidence: &Evidence, bound: f64, count: usize) -> Words {
    let (name, bound) = (evidence.name(), number(bound));
    Words {
        message: format!(
            "{name} is right where the correct gradient is below {bound} in magnitude, and \
             ±{bound} in the {count} entries where it is above: its values were clipped"
        ),
        correction: format!("without the {count} entries at {bound}"),
        fix: "read the gradient before torch.nn.utils.clip_grad_value_, .clamp_ or jnp.clip \
              (optax.clip)"
            .into(),
        ..Words::default()
    }
}
