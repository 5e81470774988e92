//! `ignored-rows-not-masked`: samples that the loss ignores have a gradient all the same.

use super::{
    case::Case,
    evidence::{Evidence, Sample, cross_entropy},
    hypothesis::Hypothesis,
    words::counted,
};
use crate::report::Ranges;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() {
        return rule_parameter(evidence, case);
    }
    let loss = evidence.problem.loss();
    let ignored = |row: usize| evidence.problem.is_ignored(evidence.rows[row]);
    let wrong = |entry: usize| case.is_live(entry) && case.a[entry] != 0.0;
    let rows: Vec<usize> = (0..case.rows())
        .filter(|&row| ignored(row) && case.row(row).any(wrong))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let is_ignored = |entry: usize| rows.binary_search(&(entry / case.columns)).is_ok();
    let rest = case.without(is_ignored);
    // What is in those rows must be what a sample of some label would have.
    let own = case.without(|entry| !is_ignored(entry));
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
    let (after, and) = match !rest.is_explained() && divided.is_explained() {
        true => (
            divided,
            format!(", and the others are divided by all {all} rows"),
        ),
        false => (rest, String::new()),
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
fn rule_parameter(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let loss = evidence.problem.loss();
    let (count, all) = evidence.valid_rows();
    if count == all {
        return None;
    }
    let kept = KEPT.into_iter().find_map(|kept| {
        evidence.explains(
            case,
            &evidence.layer,
            &kept_with(kept, evidence.problem.k()),
        )
    })?;
    let divided = kept.divided(count / all);
    let (after, and) = match !kept.is_explained() && divided.is_explained() {
        true => (
            divided,
            format!(", and everything is divided by all {all} rows"),
        ),
        false => (kept, String::new()),
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

fn kept_with(kept: Kept, k: usize) -> impl Fn(&Sample, &mut [f64], &mut [f64]) {
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
    after: Case,
    places: &str,
    and: &str,
    ignore_index: i64,
) -> Hypothesis {
    let name = evidence.name();
    let what = match evidence.wrt.is_parameter() {
        true => format!(
            "{name} contains the samples whose target is {ignore_index}, which the loss ignores{and}"
        ),
        false => format!(
            "{name} is not zero in {places}, whose target is {ignore_index} and which the loss ignores{and}"
        ),
    };
    Hypothesis::new(
        "ignored-rows-not-masked",
        after,
        "without the ignored samples",
        what,
        format!(
            "set the logits' gradient of rows with target {ignore_index} to zero and divide by the number of the other rows, as ignore_index does; clamping the label to a class is not enough"
        ),
    )
}
