//! `rows-scaled`: each row is the derivative times a factor of its own.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
    words::{counted, plural, row},
};
use crate::report::Code;

/// With fewer entries a factor a row explains anything.
const LEAST_COLUMNS: usize = 3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    // Of two classes every gradient is the same row times a factor.
    if pair.columns < LEAST_COLUMNS || evidence.problem.k() == 2 {
        return None;
    }
    let row_of = |entry: usize| entry / pair.columns;
    let usable = |factor: f64| {
        if factor.is_finite() && factor != 0.0 {
            factor
        } else {
            1.0
        }
    };
    let factors = pair.scales(pair.rows(), |entry| Some(row_of(entry)));
    let factors: Vec<f64> = factors.into_iter().map(usable).collect();
    let after = pair.divided_by(|entry| factors[row_of(entry)]);
    let uncertainty = pair.scale_uncertainty() * (pair.rows() as f64).sqrt();
    let off = || (0..pair.rows()).filter(|&row| (factors[row] - 1.0).abs() > uncertainty);
    let rows = evidence.numbers(&off().map(|row| evidence.rows[row]).collect());
    let range = off().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
        (factors[row].min(low), factors[row].max(high))
    });
    if rows.is_empty() || !after.is_explained() || !after.is_informative() {
        return None;
    }
    let (name, noun) = (evidence.name(), row(evidence.wrt));
    let which = match (rows.len() == pair.rows(), evidence.is_whole()) {
        (true, _) => format!("each {noun}"),
        (false, true) => counted(noun, &rows),
        (false, false) => format!(
            "{} of the {} {} that were looked at",
            rows.len(),
            pair.rows(),
            plural(noun)
        ),
    };
    let (low, high) = range;
    let times = if (high / low - 1.0).abs() <= uncertainty {
        format!("{} times the derivative", number(low))
    } else {
        format!(
            "the derivative times a factor a row, from {} to {}",
            number(low),
            number(high)
        )
    };
    let fix = if evidence.wrt.is_parameter() {
        "look for a learning rate or a gradient hook for some of the classes, or for class weights"
    } else {
        "look for sample weights, a focal or self-paced loss, or parts of the batch that have a mean of their own: they belong into the loss that is checked"
    };
    Some(
        Hypothesis::new(
            Code::RowsScaled,
            after,
            format!("with each {noun} divided by a factor of its own"),
            format!("{name} is {times} in {which}"),
            fix,
        )
        .weighing(0.2)
        .confidence(0.9)
        .evidence("smallest factor", low)
        .evidence("largest factor", high)
        .rows(rows.iter()),
    )
}
