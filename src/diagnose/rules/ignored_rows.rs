//! `ignored-rows-not-masked`: samples that the loss ignores have a gradient.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::{Datum, cross_entropy},
        pair::Pair,
        words::{Words, counted},
    },
    report::{Code, Ranges},
};

/// A target that an ignored sample is given by mistake.
#[derive(Clone, Copy)]
enum Mistaken {
    /// No target: the softmax alone is left.
    None,
    /// The first class.
    First,
    /// The last class.
    Last,
}

const MISTAKES: [Mistaken; 3] = [Mistaken::None, Mistaken::First, Mistaken::Last];

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() {
        in_sum(evidence, pair)
    } else {
        in_rows(evidence, pair)
    }
}

/// Tests a gradient with rows for the samples.
fn in_rows(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let ignored = |row: usize| evidence.problem.is_ignored(evidence.rows[row]);
    let wrong = |entry: usize| pair.is_live(entry) && pair.a[entry] != 0.0;
    let rows: Vec<usize> = (0..pair.rows())
        .filter(|&row| ignored(row) && pair.row(row).any(wrong))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let is_ignored = |entry: usize| rows.binary_search(&(entry / pair.columns)).is_ok();
    // These rows must equal the gradient of a sample with a target.
    explained(evidence, &pair.without(|entry| !is_ignored(entry)))?;
    let (after, is_divided) = divided_by_all(evidence, pair.without(is_ignored));
    // The finding lists places among all rows, not only the chosen ones.
    let wrong = evidence.check.tally.places.rows.iter();
    let places: Ranges = wrong
        .filter(|&row| evidence.problem.is_ignored(row))
        .collect();
    let places = evidence.numbers(&places);
    let words = words(evidence, Some(&counted("row", &places)), is_divided);
    Some(
        Hypothesis::new(Code::IgnoredRowsNotMasked, after, words)
            .evidence("rows", places.len() as f64)
            .rows(places.iter()),
    )
}

/// Tests a gradient that sums over the samples.
fn in_sum(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if !evidence.has_ignored() {
        return None;
    }
    let (after, is_divided) = divided_by_all(evidence, explained(evidence, pair)?);
    let words = words(evidence, None, is_divided);
    Some(Hypothesis::new(Code::IgnoredRowsNotMasked, after, words))
}

/// Returns the pair against the gradient in which ignored samples have a mistaken target.
fn explained(evidence: &Evidence, pair: &Pair) -> Option<Pair> {
    let k = evidence.problem.k();
    MISTAKES
        .into_iter()
        .find_map(|mistake| evidence.explains(pair, &evidence.layer, &mistaken_loss(mistake, k)))
}

fn mistaken_loss(mistake: Mistaken, k: usize) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
    move |sample, soft, hard| {
        cross_entropy(sample, soft, hard);
        if sample.total == 0.0 {
            soft.copy_from_slice(sample.softmax);
            match mistake {
                Mistaken::None => {}
                Mistaken::First => hard[0] = 1.0,
                Mistaken::Last => hard[k - 1] = 1.0,
            }
        }
    }
}

/// Undoes a division by all rows if that explains the pair: both come from the same mistake.
fn divided_by_all(evidence: &Evidence, pair: Pair) -> (Pair, bool) {
    let (valid, all) = evidence.valid_rows();
    let divided = pair.divided(valid / all);
    if !pair.is_explained() && divided.is_explained() {
        (divided, true)
    } else {
        (pair, false)
    }
}

fn words(evidence: &Evidence, places: Option<&str>, is_divided: bool) -> Words {
    let (name, (_, all)) = (evidence.name(), evidence.valid_rows());
    let ignore_index = evidence.problem.loss().ignore_index;
    let others = match (is_divided, places) {
        (false, _) => String::new(),
        (true, None) => format!(", and is divided by all {all} rows"),
        (true, Some(_)) => format!(", and the others are divided by all {all} rows"),
    };
    let message = match places {
        None => format!(
            "{name} includes the samples with target {ignore_index}, which the loss ignores{others}"
        ),
        Some(places) => format!(
            "{name} is not zero in {places}, although the loss ignores their target, \
             {ignore_index}{others}"
        ),
    };
    Words {
        message,
        correction: "without the ignored samples".into(),
        fix: format!(
            "set the logits' gradient to zero in rows with target {ignore_index} and divide by the \
             number of other rows, as ignore_index does; clamping the label to a class is not \
             enough"
        ),
        ..Words::default()
    }
}
