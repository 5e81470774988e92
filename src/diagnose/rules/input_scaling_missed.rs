//! `input-scaling-missed`: each column is off by a factor of its own.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, number},
    },
    problem::Wrt,
    report::Code,
};

/// Least number of rows: with fewer, one factor per column fits anything. Chosen.
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
    let known = |factor: f64| if factor.is_finite() { factor } else { 1.0 };
    let factors: Vec<f64> = factors.into_iter().map(known).collect();
    let uncertainty = pair.scale_uncertainty() * (pair.columns as f64).sqrt();
    let off: Vec<usize> = (0..pair.columns)
        .filter(|&column| (factors[column] - 1.0).abs() > uncertainty)
        .collect();
    let noun = evidence.column_noun();
    let which = match *off.as_slice() {
        [] => return None,
        [..] if off.len() == pair.columns => format!("each {noun}"),
        [column] => format!("{noun} {column}"),
        [..] => format!("each of {} {noun}s", off.len()),
    };
    let (smallest, largest) = off
        .iter()
        .map(|&column| factors[column])
        .fold((f64::INFINITY, 0.0f64), |(low, high), f| {
            (low.min(f), high.max(f))
        });
    let after = pair.divided_by(|entry| factors[column(entry)]);
    let words = words(evidence, &which, [smallest, largest]);
    Some(
        Hypothesis::new(Code::InputScalingMissed, after, words)
            .confidence(if off.len() == 1 { 0.7 } else { 0.95 })
            .evidence("smallest factor", smallest)
            .evidence("largest factor", largest)
            .columns(off),
    )
}

fn words(evidence: &Evidence, which: &str, range: [f64; 2]) -> Words {
    let (name, [smallest, largest]) = (evidence.name(), range.map(number));
    Words {
        message: format!(
            "{which} of {name} is the correct gradient times a factor of its own, from {smallest} \
             to {largest}: only one side accounts for the scaling of the inputs"
        ),
        correction: "with each column divided by a factor of its own".into(),
        fix: match evidence.wrt {
            Wrt::Weight => {
                "the layer saw x' = (x - mean) / std: save x' as the input, because the weight's \
                 gradient is made with it"
            }
            _ => {
                "the layer saw x' = (x - mean) / std: save x' as the input, or multiply the \
                 gradient with respect to x by std, because only one side has the chain rule's \
                 dx'/dx = 1/std"
            }
        }
        .into(),
        ..Words::default()
    }
}
