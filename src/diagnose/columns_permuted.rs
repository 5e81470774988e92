//! `columns-permuted`: the right columns in another order.

use super::{
    evidence::Evidence,
    hypothesis::Hypothesis,
    matching::{describe, directions, match_up, signature},
    pair::Pair,
};
use crate::{problem::Wrt, report::Code};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if pair.columns < 2 {
        return None;
    }
    let scale = pair.norm_ratio();
    let on = directions(pair.rows());
    let signatures = |values: &[f64], by: f64| -> Vec<_> {
        let column = |i: usize| {
            (i..values.len())
                .step_by(pair.columns)
                .map(move |e| if pair.is_live(e) { values[e] / by } else { 0.0 })
        };
        (0..pair.columns)
            .map(|i| signature(column(i), &on))
            .collect()
    };
    let permutation = match_up(&signatures(&pair.a, scale), &signatures(&pair.g, 1.0))?;
    let how = describe(&permutation)?;
    let mut back = pair.a.clone();
    for row in 0..pair.rows() {
        let entries = pair.row(row);
        for (from, &to) in permutation.iter().enumerate() {
            back[entries.start + to] = pair.a[entries.start + from];
        }
    }
    let moved = || {
        permutation
            .iter()
            .enumerate()
            .filter(|(i, p)| i != *p)
            .map(|(i, _)| i)
    };
    let (name, noun) = match evidence.wrt {
        Wrt::Logits => (evidence.name(), "classes"),
        _ => (evidence.name(), "features"),
    };
    Some(
        Hypothesis::new(
            Code::ColumnsPermuted,
            pair.with(back),
            "with its columns put back",
            format!("{name} has the right columns {how}: its {noun} are not in the order of the file's"),
            format!("save all tensors with their {noun} in one order: look for a permutation, a reversed or sorted axis, or columns that a data frame put into another order"),
        )
        .evidence("columns moved", moved().count() as f64)
        .columns(moved()),
    )
}
