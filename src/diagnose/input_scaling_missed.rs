//! `input-scaling-missed`: each column is off by a factor of its own.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
};
use crate::{problem::Wrt, report::Code};

/// With fewer rows a factor a column explains anything.
const LEAST_ROWS: usize = 3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if !matches!(evidence.wrt, Wrt::Input | Wrt::Weight) || pair.rows() < LEAST_ROWS {
        return None;
    }
    let column = |entry: usize| entry % pair.columns;
    let factors = pair.scales(pair.columns, |entry| Some(column(entry)));
    if factors.iter().any(|factor| *factor <= 0.0) {
        return None;
    }
    let factor = |column: usize| {
        if factors[column].is_finite() {
            factors[column]
        } else {
            1.0
        }
    };
    let after = pair.divided_by(|entry| factor(column(entry)));
    let uncertainty = pair.scale_uncertainty() * (pair.columns as f64).sqrt();
    let off = || (0..pair.columns).filter(|&column| (factor(column) - 1.0).abs() > uncertainty);
    let (smallest, largest) = off()
        .map(factor)
        .fold((f64::INFINITY, 0.0f64), |(low, high), f| {
            (low.min(f), high.max(f))
        });
    let name = evidence.name();
    let count = off().count();
    if count == 0 {
        return None;
    }
    let which = match count {
        count if count == pair.columns => "each column".to_owned(),
        1 => format!("column {}", off().next()?),
        count => format!("each of {count} columns"),
    };
    Some(
        Hypothesis::new(
            Code::InputScalingMissed,
            after,
            "with each column divided by a factor of its own",
            format!("{which} of {name} is the derivative times a factor of its own, from {} to {}: the inputs are scaled on the way, and only one side knows", number(smallest), number(largest)),
            match evidence.wrt {
                Wrt::Weight => "the layer saw x' = (x - mean) / std: save x', with which the weight's gradient is made, as the input",
                _ => "the layer saw x' = (x - mean) / std: save x' as the input, or multiply the gradient with respect to x by std (the chain rule's dx'/dx = 1/std is in one and not in the other)",
            },
        )
        .confidence(if count == 1 { 0.7 } else { 0.95 })
        .evidence("smallest factor", smallest)
        .evidence("largest factor", largest)
        .columns(off()),
    )
}
