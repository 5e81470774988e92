//! `dropout-on`: zeros at random, the rest larger for it.

use super::{
    case::Case,
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
};

/// Zeros that make a share.
const LEAST: usize = 4;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let (mut zeros, mut all) = (0, 0);
    for (_, a, g, allowed) in case.live() {
        if g.abs() > allowed {
            all += 1;
            zeros += usize::from(a == 0.0);
        }
    }
    if case.columns > 1 && are_whole_rows(case) {
        return None;
    }
    let share = zeros as f64 / all as f64;
    if zeros < LEAST || share > 0.95 {
        return None;
    }
    let rest = case.without(|entry| case.a[entry] == 0.0);
    if !rest.is_scaled() {
        return None;
    }
    // The share that was asked for is near the share that was drawn.
    let asked = 1.0 - 1.0 / rest.scale();
    let spread = 5.0 * (share * (1.0 - share) / all as f64).sqrt();
    let (after, factor) = match (asked - share).abs() <= spread {
        true => (rest.divided(rest.scale()), rest.scale()),
        false => (rest, 1.0),
    };
    let (name, percent) = (evidence.name(), number((1000.0 * share).round() / 10.0));
    let rest = match factor == 1.0 {
        true => "the others are right up to one factor".to_owned(),
        false => format!("the others are {} times the derivative", number(factor)),
    };
    Some(
        Hypothesis::new(
            "dropout-on",
            after,
            format!("without the zeros, the rest divided by {}", number(factor)),
            format!("{percent} % of the entries of {name} are zero without a pattern, and {rest}: dropout was on in the backward pass"),
            "call model.eval() before the pass that you check (train=False or deterministic=True in JAX's libraries), or put the same mask into the file's input",
        )
        .evidence("zeros", share)
        .evidence("scale", factor),
    )
}

/// Whether zeros come in whole rows: those have another cause.
fn are_whole_rows(case: &Case) -> bool {
    let shows = |e: &usize| case.is_live(*e) && case.g[*e].abs() > case.allowed[*e];
    let (mut whole, mut parts) = (0, 0);
    for row in 0..case.rows() {
        let (zeros, others): (Vec<usize>, Vec<usize>) =
            case.row(row).filter(shows).partition(|&e| case.a[e] == 0.0);
        match (zeros.is_empty(), others.is_empty()) {
            (false, true) => whole += 1,
            (false, false) => parts += 1,
            _ => {}
        }
    }
    whole > 4 * parts
}
