//! `rows-zero`: some rows are zero, the derivative's are not.

use super::{
    case::Case,
    evidence::Evidence,
    hypothesis::Hypothesis,
    words::{counted, row},
};
use crate::report::Ranges;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let shows = |entry: usize| case.is_live(entry) && case.g[entry].abs() > case.allowed[entry];
    let zero: Vec<usize> = (0..case.rows())
        .filter(|&row| case.row(row).any(shows) && case.row(row).all(|entry| case.a[entry] == 0.0))
        .collect();
    // Zeros that are missing elsewhere have only moved.
    let is_missing = |row: &usize| {
        case.row(*row).all(|e| case.g[e] == 0.0) && case.row(*row).any(|e| case.a[e] != 0.0)
    };
    let missing = (0..case.rows()).filter(is_missing).count();
    if zero.is_empty() || zero.len() == case.rows() || zero.len() <= missing {
        return None;
    }
    let rest = case.without(|entry| zero.binary_search(&(entry / case.columns)).is_ok());
    let rows: Ranges = zero.iter().map(|&row| evidence.rows[row]).collect();
    let (name, noun) = (evidence.name(), row(evidence.wrt));
    let places = counted(noun, &rows);
    let hypothesis = Hypothesis::new(
        "rows-zero",
        rest,
        format!("without {places}"),
        String::new(),
        String::new(),
    );
    let mut hypothesis = hypothesis
        .evidence("rows", rows.len() as f64)
        .rows(rows.iter());
    let finding = &mut hypothesis.finding;
    if let Some(class) = only_class(evidence, &zero) {
        finding.confidence = 0.6;
        finding.message = format!(
            "{name} is zero in {places}, which are all the samples of class {class}, and the derivative is not: they were ignored or detached"
        );
        finding.fix = format!(
            "if the loss ignores class {class}, say so (--ignore-index {class}, or ignore_index in the metadata); else look for what masks or detaches those samples"
        );
        finding.test = Some(format!(
            "give samples of class {class} another label: if their rows are no longer zero, the label is what is ignored"
        ));
        hypothesis = hypothesis.classes([class]);
    } else {
        let last =
            rows.ranges().len() == 1 && rows.ranges()[0].end == evidence.problem.rows(evidence.wrt);
        let which = if last { ", the last ones," } else { "" };
        finding.message = format!(
            "{name} is zero in {places}{which} and the derivative is not: nothing came back from there"
        );
        finding.fix = match (evidence.wrt.is_parameter(), last) {
            (true, _) => "look for a mask over the classes, frozen rows of the weight, or a hook on its gradient".to_owned(),
            (_, true) => "look for a last batch that is dropped (drop_last=True), a slice that ends too early, or a padded batch".to_owned(),
            _ => "look for a mask, an index or a .detach() that leaves those rows out of the loss".to_owned(),
        };
    }
    Some(hypothesis)
}

/// The class that exactly these rows have.
fn only_class(evidence: &Evidence, rows: &[usize]) -> Option<usize> {
    if evidence.wrt.is_parameter() {
        return None;
    }
    let label = |row: usize| evidence.problem.label(evidence.rows[row]);
    let class = label(*rows.first()?)?;
    let is_zero = |row: usize| rows.binary_search(&row).is_ok();
    // One row is no pattern.
    let all = rows.len() > 1
        && (0..evidence.rows.len()).all(|row| is_zero(row) == (label(row) == Some(class)));
    all.then_some(class)
}
