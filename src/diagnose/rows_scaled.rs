//! `rows-scaled`: each row is the derivative times a factor of its own.

use super::{
    case::Case,
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    words::{counted, plural, row},
};

/// With fewer entries a factor a row explains anything.
const LEAST_COLUMNS: usize = 3;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    // Of two classes every gradient is the same row times a factor.
    if case.columns < LEAST_COLUMNS || evidence.problem.k() == 2 {
        return None;
    }
    let row_of = |entry: usize| entry / case.columns;
    let usable = |factor: f64| match factor.is_finite() && factor != 0.0 {
        true => factor,
        false => 1.0,
    };
    let factors = case.scales(case.rows(), |entry| Some(row_of(entry)));
    let factors: Vec<f64> = factors.into_iter().map(usable).collect();
    let after = case.divided_by(|entry| factors[row_of(entry)]);
    let uncertainty = case.scale_uncertainty() * (case.rows() as f64).sqrt();
    let off = || (0..case.rows()).filter(|&row| (factors[row] - 1.0).abs() > uncertainty);
    let rows = evidence.numbers(&off().map(|row| evidence.rows[row]).collect());
    let range = off().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
        (factors[row].min(low), factors[row].max(high))
    });
    if rows.is_empty() || !after.is_explained() || !after.is_informative() {
        return None;
    }
    let (name, noun) = (evidence.name(), row(evidence.wrt));
    let which = match (rows.len() == case.rows(), evidence.is_whole()) {
        (true, _) => format!("each {noun}"),
        (false, true) => counted(noun, &rows),
        (false, false) => format!(
            "{} of the {} {} that were looked at",
            rows.len(),
            case.rows(),
            plural(noun)
        ),
    };
    let (low, high) = range;
    let times = match (high / low - 1.0).abs() <= uncertainty {
        true => format!("{} times the derivative", number(low)),
        false => format!(
            "the derivative times a factor a row, from {} to {}",
            number(low),
            number(high)
        ),
    };
    let fix = match evidence.wrt.is_parameter() {
        true => {
            "look for a learning rate or a gradient hook for some of the classes, or for class weights"
        }
        false => {
            "look for sample weights, a focal or self-paced loss, or parts of the batch that have a mean of their own: they belong into the loss that is checked"
        }
    };
    Some(
        Hypothesis::new(
            "rows-scaled",
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
