//! `ignored-rows-not-masked`: samples that the loss ignores have a gradient all the same.

use super::{
    evidence::{Datum, Evidence, cross_entropy},
    hypothesis::Hypothesis,
    pair::Pair,
    words::counted,
};
use crate::report::{Code, Ranges};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() {
        return rule_parameter(evidence, pair);
    }
    let loss = evidence.problem.loss();
    let ignored = |row: usize| evidence.problem.is_ignored(evidence.rows[row]);
    let wrong = |entry: usize| pair.is_live(entry) && pair.a[entry] != 0.0;
    let rows: Vec<usize> = (0..pair.rows())
        .filter(|&row| ignored(row) && pair.row(row).any(wrong))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let is_ignored = |entry: usize| rows.binary_search(&(entry / pair.columns)).is_ok();
    let rest = pair.without(is_ignored);
    // What is in those rows must be what a sample of some label would have.
    let own = pair.without(|entry| !is_ignored(entry));
    KEPT.into_iter().find_map(|kept| {
        evidence.explains(
            &own,
            &evidence.layer,
            &kept_with(kept, evidence.problem.k()),
        )
    })?;
    // Of all rows, whatever was looked at.
    let wrong = evidence.check.tally.places.rows.iter();
    let places: Ranges = wrong
        .filter(|&row| evidence.problem.is_ignored(row))
        .collect();
    let places = evidence.numbers(&places);
    // What divides by all rows here belongs to the same mistake.
    let (count, all) = evidence.valid_rows();
    let share = count / all;
    let divided = rest.divided(share);
    let (after, and) = if !rest.is_explained() && divided.is_explained() {
        (
            divided,
            format!(", and the others are divided by all {all} rows"),
        )
    } else {
        (rest, String::new())
    };
    Some(
        message(
            evidence,
            after,
            &counted("row", &places),
            &and,
            loss.ignore_index,
        )
        .evidence("rows", places.len() as f64)
        .rows(places.iter()),
    )
}

/// A sum over the samples has no rows of theirs: the ignored ones add what the softmax alone, or a label of 0, gives them.
fn rule_parameter(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let loss = evidence.problem.loss();
    let (count, all) = evidence.valid_rows();
    if count == all {
        return None;
    }
    let kept = KEPT.into_iter().find_map(|kept| {
        evidence.explains(
            pair,
            &evidence.layer,
            &kept_with(kept, evidence.problem.k()),
        )
    })?;
    let divided = kept.divided(count / all);
    let (after, and) = if !kept.is_explained() && divided.is_explained() {
        (
            divided,
            format!(", and everything is divided by all {all} rows"),
        )
    } else {
        (kept, String::new())
    };
    Some(message(evidence, after, "the sum", &and, loss.ignore_index))
}

/// What an ignored sample is taken for: one without a target, one of the first class, one of the last.
#[derive(Clone, Copy)]
enum Kept {
    Nothing,
    First,
    Last,
}

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::First, Kept::Last];

fn kept_with(kept: Kept, k: usize) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
    move |sample, soft, hard| {
        cross_entropy(sample, soft, hard);
        if sample.total == 0.0 {
            soft.copy_from_slice(sample.softmax);
            match kept {
                Kept::Nothing => {}
                Kept::First => hard[0] = 1.0,
                Kept::Last => hard[k - 1] = 1.0,
            }
        }
    }
}

fn message(
    evidence: &Evidence,
    after: Pair,
    places: &str,
    and: &str,
    ignore_index: i64,
) -> Hypothesis {
    let name = evidence.name();
    let what = if evidence.wrt.is_parameter() {
        format!(
            "{name} contains the samples whose target is {ignore_index}, which the loss ignores{and}"
        )
    } else {
        format!(
            "{name} is not zero in {places}, whose target is {ignore_index} and which the loss ignores{and}"
        )
    };
    Hypothesis::new(
        Code::IgnoredRowsNotMasked,
        after,
        "without the ignored samples",
        what,
        format!(
            "set the logits' gradient of rows with target {ignore_index} to zero and divide by the number of the other rows, as ignore_index does; clamping the label to a class is not enough"
        ),
    )
}
