//! `columns-zero`: some columns are zero, the derivative's are not.

use super::{case::Case, evidence::Evidence, hypothesis::Hypothesis, words::counted};
use crate::report::Ranges;

/// The least that a column must have, against the typical entry, to be missed.
const LEAST: f64 = 0.1;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let (mut shows, mut others) = (vec![false; case.columns], vec![false; case.columns]);
    let live = case.live().count() as f64;
    let typical = (case.live().map(|(_, _, g, _)| g * g).sum::<f64>() / live).sqrt();
    for (entry, a, g, allowed) in case.live() {
        // Next to nothing may well round to nothing.
        shows[entry % case.columns] |= g.abs() > allowed.max(LEAST * typical);
        others[entry % case.columns] |= a != 0.0;
    }
    let columns: Ranges = (0..case.columns)
        .filter(|&column| shows[column] && !others[column])
        .collect();
    if case.columns < 2 || columns.is_empty() || columns.len() == case.columns {
        return None;
    }
    let zero: Vec<bool> = (0..case.columns)
        .map(|column| shows[column] && !others[column])
        .collect();
    let rest = case.without(|entry| zero[entry % case.columns]);
    let (name, places) = (evidence.name(), counted("column", &columns));
    Some(
        Hypothesis::new(
            "columns-zero",
            rest,
            format!("without {places}"),
            format!("{name} is zero in {places} and the derivative is not: nothing came back from there"),
            "look for features that are frozen, masked, padded or sliced off, or for a gradient that was written into a buffer that is wider",
        )
        .evidence("columns", columns.len() as f64)
        .columns(columns.iter()),
    )
}
