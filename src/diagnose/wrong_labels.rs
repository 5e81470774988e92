//! `wrong-labels`: a few samples with another label.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::counted};
use crate::{problem::Wrt, report::Code};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if evidence.wrt.is_parameter() || !evidence.problem.is_one_hot() {
        return None;
    }
    let is_wrong = |row: usize| {
        pair.row(row)
            .any(|e| pair.is_live(e) && (pair.a[e] - pair.g[e]).abs() > pair.allowed[e])
    };
    let wrong: Vec<usize> = (0..pair.rows()).filter(|&row| is_wrong(row)).collect();
    // Where rows have few entries some label fits by chance.
    if wrong.is_empty() || (pair.columns < 3 && 2 * wrong.len() > pair.rows()) {
        return None;
    }
    let mut after = pair.clone();
    let mut labels = Vec::new();
    for &row in &wrong {
        let given = another_label(evidence, pair, &mut after, row)?;
        labels.push((evidence.rows[row], given));
    }
    let rows = evidence.numbers(&labels.iter().map(|(row, _)| *row).collect());
    let shown: Vec<String> = labels
        .iter()
        .take(3)
        .map(|&(row, given)| {
            let own = evidence
                .problem
                .label(row)
                .map_or_else(String::new, |own| format!(", not {own}"));
            let number = evidence.problem.row_number(evidence.wrt, row);
            format!("row {number} as class {given}{own}")
        })
        .collect();
    let more = if labels.len() > shown.len() {
        ", ..."
    } else {
        ""
    };
    let (name, mut places) = (evidence.name(), counted("row", &rows));
    if evidence.check.tally.places.rows.len() > rows.len() {
        places = format!("{} of {} rows that were looked at", rows.len(), pair.rows());
    }
    let belongs = if rows.len() == 1 {
        "belongs to another label"
    } else {
        "belong to other labels"
    };
    let renamed = renamed_classes(evidence, &labels).map_or_else(String::new, |how| {
        format!("; it is the classes that have other names: {how}")
    });
    Some(
        Hypothesis::new(
            Code::WrongLabels,
            after,
            "compared with the other labels",
            format!("in {name} {places} {belongs} than the file's: {}{more}{renamed}", shown.join(", ")),
            "compare the target that the loss saw with the one that was saved: a relabelled, augmented or corrupted target, or a file of another run",
        )
        .evidence("rows", rows.len() as f64)
        .classes(labels.iter().map(|(_, given)| *given))
        .rows(rows.iter()),
    )
}

/// The label that explains a row, moved into `after`'s reference: a - g = R (v[y] - v[y']) / Z, v the weight's rows, or unit vectors for the
/// logits.
fn another_label(evidence: &Evidence, pair: &Pair, after: &mut Pair, row: usize) -> Option<usize> {
    let own = evidence.problem.label(evidence.rows[row])?;
    let weight = |class: usize| {
        evidence
            .problem
            .loss()
            .class_weight
            .as_ref()
            .map_or(1.0, |w| w[class])
    };
    let z = evidence.problem.normalizer();
    let entries = pair.row(row);
    let vector = |class: usize, column: usize| match evidence.wrt {
        Wrt::Logits => f64::from(u8::from(class == column)),
        _ => evidence.layer.weight[class * pair.columns + column],
    };
    // With class weights the whole row is weighted by the other label.
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
    let others = (0..evidence.problem.k()).filter(|class| *class != own);
    let class = match evidence.wrt {
        // Where a one-hot target was subtracted that the file does not have.
        Wrt::Logits => {
            let error =
                |class: usize| pair.a[entries.start + class] - pair.g[entries.start + class];
            others.min_by(|&a, &b| error(a).total_cmp(&error(b)))?
        }
        _ => others.min_by(|&a, &b| distance(a).total_cmp(&distance(b)))?,
    };
    for column in 0..pair.columns {
        after.g[entries.start + column] = right(class, column);
        // Of a confident row nearly nothing is allowed; of one that is wrong, what its larger terms round to.
        let term = (weight(own) + weight(class)) / z
            * vector(class, column).abs().max(vector(own, column).abs());
        after.allowed[entries.start + column] += 16.0 * pair.dtype.unit_roundoff() * term;
    }
    Some(class)
}

/// Whether every class that is wrong is taken for one other throughout: `3 as 5, 5 as 3`.
fn renamed_classes(evidence: &Evidence, labels: &[(usize, usize)]) -> Option<String> {
    let mut names = std::collections::BTreeMap::new();
    for &(row, given) in labels {
        let own = evidence.problem.label(row)?;
        if *names.entry(own).or_insert(given) != given {
            return None;
        }
    }
    // Classes that are met once are renamed by any label.
    if labels.len() < 2 * names.len() {
        return None;
    }
    let shown = names
        .iter()
        .take(4)
        .map(|(own, given)| format!("{own} is taken for {given}"));
    let more = if names.len() > 4 { ", ..." } else { "" };
    Some(shown.collect::<Vec<_>>().join(", ") + more)
}
