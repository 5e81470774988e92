//! `columns-zero`: some columns are zero, the derivative's are not.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::counted};
use crate::report::{Code, Ranges};

/// The least that a column must have, against the typical entry, to be missed.
const LEAST: f64 = 0.1;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (mut shows, mut others) = (vec![false; pair.columns], vec![false; pair.columns]);
    let live = pair.live().count() as f64;
    let typical = (pair.live().map(|(_, _, g, _)| g * g).sum::<f64>() / live).sqrt();
    for (entry, a, g, allowed) in pair.live() {
        // Next to nothing may well round to nothing.
        shows[entry % pair.columns] |= g.abs() > allowed.max(LEAST * typical);
        others[entry % pair.columns] |= a != 0.0;
    }
    let columns: Ranges = (0..pair.columns)
        .filter(|&column| shows[column] && !others[column])
        .collect();
    if pair.columns < 2 || columns.is_empty() || columns.len() == pair.columns {
        return None;
    }
    let zero: Vec<bool> = (0..pair.columns)
        .map(|column| shows[column] && !others[column])
        .collect();
    let rest = pair.without(|entry| zero[entry % pair.columns]);
    let (name, places) = (evidence.name(), counted("column", &columns));
    Some(
        Hypothesis::new(
            Code::ColumnsZero,
            rest,
            format!("without {places}"),
            format!("{name} is zero in {places} and the derivative is not: nothing came back from there"),
            "look for features that are frozen, masked, padded or sliced off, or for a gradient that was written into a buffer that is wider",
        )
        .evidence("columns", columns.len() as f64)
        .columns(columns.iter()),
    )
}
