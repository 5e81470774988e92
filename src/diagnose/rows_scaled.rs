//! `rows-scaled`: each row is the derivative times a factor of its own.

use super::{
    case::Case,
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    words::{counted, row},
};
use crate::report::Ranges;

/// With fewer entries a factor a row explains anything.
const LEAST_COLUMNS: usize = 3;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    // Of two classes every gradient is the same row times a factor.
    if case.columns < LEAST_COLUMNS || evidence.problem.k() == 2 {
        return None;
    }
    let factors: Vec<f64> = (0..case.rows()).map(|row| factor(case, row)).collect();
    let mut after = case.clone();
    for (row, factor) in factors.iter().enumerate() {
        after.a[case.row(row)].iter_mut().for_each(|a| *a /= factor);
    }
    let uncertainty = case.scale_uncertainty() * (case.rows() as f64).sqrt();
    let off = || (0..case.rows()).filter(|&row| (factors[row] - 1.0).abs() > uncertainty);
    let rows: Ranges = off().map(|row| evidence.rows[row]).collect();
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
            "{} of the {} {noun}s that were looked at",
            rows.len(),
            case.rows()
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

/// <a,g>/<g,g> of a row; 1 where there is nothing to divide by.
fn factor(case: &Case, row: usize) -> f64 {
    let (mut ag, mut gg) = (0.0, 0.0);
    for entry in case.row(row).filter(|&entry| case.is_live(entry)) {
        ag += case.a[entry] * case.g[entry];
        gg += case.g[entry] * case.g[entry];
    }
    match ag / gg {
        factor if factor.is_finite() && factor != 0.0 => factor,
        _ => 1.0,
    }
}
