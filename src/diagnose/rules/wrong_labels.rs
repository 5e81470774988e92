//! `wrong-labels`: a few samples with another label.

use std::collections::BTreeMap;

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, counted},
    },
    problem::Wrt,
    report::{Code, Ranges},
};

/// Least number of columns; with fewer some label fits a row by chance. Chosen.
const LEAST_COLUMNS: usize = 3;
/// Number of roundings, of the terms of the right label and the other one, that the bounds allow
/// for. Chosen.
const ROUNDINGS: f64 = 16.0;
/// Most rows, and most classes, that the message names.
const SHOWN: [usize; 2] = [3, 4];

/// A row, and the label that explains it.
type Relabelled = (usize, usize);

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() || !evidence.problem.is_one_hot() {
        return None;
    }
    let wrong: Vec<usize> = (0..pair.rows())
        .filter(|&row| pair.row(row).any(|e| pair.is_wrong(e)))
        .collect();
    if wrong.is_empty() || (pair.columns < LEAST_COLUMNS && 2 * wrong.len() > pair.rows()) {
        return None;
    }
    let mut after = pair.clone();
    let mut labels: Vec<Relabelled> = Vec::new();
    for &row in &wrong {
        let given = relabel(evidence, pair, &mut after, row)?;
        labels.push((evidence.rows[row], given));
    }
    let rows = evidence.numbers(&labels.iter().map(|(row, _)| *row).collect());
    let words = words(evidence, pair.rows(), &rows, &labels);
    Some(
        Hypothesis::new(Code::WrongLabels, after, words)
            .evidence("rows", rows.len() as f64)
            .classes(labels.iter().map(|(_, given)| *given))
            .rows(rows.iter()),
    )
}

/// Finds the label that explains a row, and moves it into the reference of `after`.
///
/// With v the weight's rows, or unit vectors for the logits, a - g = R (v\[y\] - v\[y'\]) / Z. With
/// class weights the whole row is weighted by the other label.
fn relabel(evidence: &Evidence, pair: &Pair, after: &mut Pair, row: usize) -> Option<usize> {
    let own = evidence.problem.label(evidence.rows[row])?;
    let loss = evidence.problem.loss();
    let weight = |class: usize| loss.class_weight.as_ref().map_or(1.0, |w| w[class]);
    let z = evidence.problem.normalizer();
    let entries = pair.row(row);
    let vector = |class: usize, column: usize| match evidence.wrt {
        Wrt::Logits => f64::from(u8::from(class == column)),
        _ => evidence.layer.weight[class * pair.columns + column],
    };
    let right = |class: usize, column: usize| {
        let g = pair.g[entries.start + column];
        let softmax = g + weight(own) / z * vector(own, column);
        weight(class) / weight(own) * softmax - weight(class) / z * vector(class, column)
    };
    let distance = |class: usize| -> f64 {
        let squares =
            (0..pair.columns).map(|i| (pair.a[entries.start + i] - right(class, i)).powi(2));
        squares.sum()
    };
    let error = |class: usize| pair.a[entries.start + class] - pair.g[entries.start + class];
    let others = (0..evidence.problem.k()).filter(|class| *class != own);
    let class = match evidence.wrt {
        // The wrong one-hot target was subtracted at its own class.
        Wrt::Logits => others.min_by(|&a, &b| error(a).total_cmp(&error(b)))?,
        _ => others.min_by(|&a, &b| distance(a).total_cmp(&distance(b)))?,
    };
    for column in 0..pair.columns {
        after.g[entries.start + column] = right(class, column);
        // The bound of a confident sample is nearly 0; with a wrong label the terms are larger.
        let term = (weight(own) + weight(class)) / z
            * vector(class, column).abs().max(vector(own, column).abs());
        let more = ROUNDINGS * pair.dtype.unit_roundoff() * term;
        after.allow_more(entries.start + column, more);
    }
    Some(class)
}

/// Describes a renaming of classes, "3 is taken for 5". Returns `None` unless every wrong class is
/// always taken for the same other class.
fn renamed_classes(evidence: &Evidence, labels: &[Relabelled]) -> Option<String> {
    let mut names = BTreeMap::new();
    for &(row, given) in labels {
        let own = evidence.problem.label(row)?;
        if *names.entry(own).or_insert(given) != given {
            return None;
        }
    }
    // A class that occurs once is renamed by any other label.
    if labels.len() < 2 * names.len() {
        return None;
    }
    let shown = names
        .iter()
        .take(SHOWN[1])
        .map(|(own, given)| format!("{own} is taken for {given}"));
    let more = if names.len() > SHOWN[1] { ", ..." } else { "" };
    Some(shown.collect::<Vec<_>>().join(", ") + more)
}

/// Describes a row by its label: "row 3 as class 5, not 2".
fn relabelled(evidence: &Evidence, (row, given): Relabelled) -> String {
    let own = evidence.problem.label(row);
    let own = own.map_or_else(String::new, |own| format!(", not {own}"));
    let number = evidence.problem.row_number(evidence.wrt, row);
    format!("row {number} as class {given}{own}")
}

fn words(evidence: &Evidence, examined: usize, rows: &Ranges, labels: &[Relabelled]) -> Words {
    let shown = labels.iter().take(SHOWN[0]);
    let shown: Vec<String> = shown.map(|it| relabelled(evidence, *it)).collect();
    let more = if labels.len() > shown.len() {
        ", ..."
    } else {
        ""
    };
    let name = evidence.name();
    let places = if evidence.check.tally.places.rows.len() > rows.len() {
        format!("{} of the {examined} rows examined", rows.len())
    } else {
        counted("row", rows)
    };
    let belongs = if rows.len() == 1 {
        "belongs to another label"
    } else {
        "belong to other labels"
    };
    let renamed = renamed_classes(evidence, labels).map_or_else(String::new, |how| {
        format!("; the classes have other names: {how}")
    });
    Words {
        message: format!(
            "in {name}, {places} {belongs} than the file's: {}{more}{renamed}",
            shown.join(", ")
        ),
        correction: "compared with the other labels".into(),
        fix: "compare the target that the loss saw with the saved one: look for relabelled, \
              augmented or corrupted targets, or a file from another run"
            .into(),
        ..Words::default()
    }
}
