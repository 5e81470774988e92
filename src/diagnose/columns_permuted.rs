//! `columns-permuted`: the right columns in another order.

use super::{
    case::Case,
    evidence::Evidence,
    hypothesis::Hypothesis,
    matching::{describe, directions, pair, signature},
};
use crate::problem::Wrt;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if case.columns < 2 {
        return None;
    }
    let scale = case.norm_ratio();
    let on = directions(case.rows());
    let signatures = |values: &[f64], by: f64| -> Vec<_> {
        let column = |i: usize| {
            (i..values.len())
                .step_by(case.columns)
                .map(move |e| if case.is_live(e) { values[e] / by } else { 0.0 })
        };
        (0..case.columns)
            .map(|i| signature(column(i), &on))
            .collect()
    };
    let permutation = pair(&signatures(&case.a, scale), &signatures(&case.g, 1.0))?;
    let how = describe(&permutation)?;
    let mut back = case.a.clone();
    for row in 0..case.rows() {
        let entries = case.row(row);
        for (from, &to) in permutation.iter().enumerate() {
            back[entries.start + to] = case.a[entries.start + from];
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
            "columns-permuted",
            case.with(back),
            "with its columns put back",
            format!("{name} has the right columns {how}: its {noun} are not in the order of the file's"),
            format!("save all tensors with their {noun} in one order: look for a permutation, a reversed or sorted axis, or columns that a data frame put into another order"),
        )
        .evidence("columns moved", moved().count() as f64)
        .columns(moved()),
    )
}
