//! `columns-zero`: some columns are zero that should not be.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, counted},
    },
    report::{Code, Ranges},
};

/// Least entry of a right column, relative to the root mean square of all, for its zeros to count.
/// Chosen: smaller entries may well round to zero.
const LEAST: f64 = 0.1;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (mut visible, mut nonzero) = (vec![false; pair.columns], vec![false; pair.columns]);
    let live = pair.live().count() as f64;
    let typical = (pair.live().map(|it| it.g * it.g).sum::<f64>() / live).sqrt();
    for it in pair.live() {
        let column = it.entry % pair.columns;
        visible[column] |= it.g.abs() > it.allowed.max(LEAST * typical);
        nonzero[column] |= it.a != 0.0;
    }
    let is_zero = |column: usize| visible[column] && !nonzero[column];
    let columns: Ranges = (0..pair.columns).filter(|&c| is_zero(c)).collect();
    if pair.columns < 2 || columns.is_empty() || columns.len() == pair.columns {
        return None;
    }
    let rest = pair.without(|entry| is_zero(entry % pair.columns));
    let words = words(evidence, &counted(evidence.column_noun(), &columns));
    Some(
        Hypothesis::new(Code::ColumnsZero, rest, words)
            .evidence("columns", columns.len() as f64)
            .columns(columns.iter()),
    )
}

fn words(evidence: &Evidence, places: &str) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is zero in {places}, but the correct gradient is not: no gradient flows back \
             there"
        ),
        correction: format!("without {places}"),
        fix: "look for features that are frozen, masked, padded or sliced off, or for a gradient \
              that was written into a wider buffer"
            .into(),
        ..Words::default()
    }
}
