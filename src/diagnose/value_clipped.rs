//! `value-clipped`: no entry beyond a bound, and several at it.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::report::Code;

/// Entries at the bound; two may share a value by chance.
const LEAST: usize = 3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let bound = pair
        .live()
        .fold(0.0f64, |bound, (_, a, _, _)| bound.max(a.abs()));
    let at_bound = |a: f64| a.abs() == bound;
    let clipped: Vec<_> = pair.live().filter(|(_, a, _, _)| at_bound(*a)).collect();
    let beyond = |&(_, a, g, allowed): &(usize, f64, f64, f64)| g * a.signum() >= bound - allowed;
    // The entries of two classes are each other's negative.
    let least = match (is_round(bound), evidence.problem.k()) {
        (_, 2) => 2 * LEAST,
        (true, _) => 2,
        _ => LEAST,
    };
    if bound == 0.0 || clipped.len() < least || !clipped.iter().all(beyond) {
        return None;
    }
    let after = pair.without(|entry| at_bound(pair.a[entry]));
    // Where all that counts is clipped nothing was right.
    if !after.is_explained() || !after.is_informative() {
        return None;
    }
    let (name, text) = (evidence.name(), number(bound));
    let count = clipped.len();
    Some(
        Hypothesis::new(
            Code::ValueClipped,
            after,
            format!("without the {count} entries at {text}"),
            format!("{name} is right where the derivative is below {text} in magnitude, and ±{text} where it is above, in {count} entries: its values were clipped"),
            "read the gradient before torch.nn.utils.clip_grad_value_, .clamp_ or jnp.clip (optax.clip)",
        )
        .evidence("bound", bound)
        .evidence("entries", count as f64),
    )
}

/// Whether it is a number of one or two digits, as bounds are.
fn is_round(bound: f64) -> bool {
    let digits = format!("{bound:.5e}");
    digits
        .split('e')
        .next()
        .is_some_and(|digits| digits.ends_with("0000"))
}
