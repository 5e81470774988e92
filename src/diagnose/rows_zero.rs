//! `rows-zero`: some rows are zero, the derivative's are not.

use super::{
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
    words::{counted, row},
};
use crate::report::{Code, Ranges};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let is_zero = |row: usize| pair.row(row).all(|entry| pair.a[entry] == 0.0);
    let shows = |entry: usize| pair.is_live(entry) && pair.g[entry].abs() > pair.allowed[entry];
    let zero: Vec<usize> = (0..pair.rows())
        .filter(|&row| is_zero(row) && pair.row(row).any(shows))
        .collect();
    // Zeros that are missing elsewhere have only moved.
    let is_missing = |row: &usize| !is_zero(*row) && pair.row(*row).all(|e| pair.g[e] == 0.0);
    let missing = (0..pair.rows()).filter(is_missing).count();
    if zero.len() == pair.rows() || zero.len() <= missing {
        return None;
    }
    let rest = pair.without(|entry| zero.binary_search(&(entry / pair.columns)).is_ok());
    // Of all rows, whatever was looked at.
    let wrong = evidence.check.tally.places.rows.iter();
    let rows: Ranges = wrong
        .filter(|&row| evidence.given(&[row]).iter().all(|a| *a == 0.0))
        .collect();
    let (all, noun) = (evidence.problem.rows(evidence.wrt), row(evidence.wrt));
    let last = rows.ranges().len() == 1 && rows.ranges()[0].end == all;
    let numbers = evidence.numbers(&rows);
    let places = counted(noun, &numbers);
    let name = evidence.name();
    let class = only_class(evidence, &rows);
    // A mean over the rows that are left belongs to the same story.
    let more = evidence.valid_rows().0 / (evidence.valid_rows().0 - rows.len() as f64);
    let divided = rest.divided(more);
    let by_mean = evidence.is_mean() && !rest.is_explained() && divided.is_explained();
    let (after, and) = if by_mean {
        (
            divided,
            format!(
                ", and the others are {} times the derivative, as in a mean that counts them alone",
                number(more)
            ),
        )
    } else {
        (rest, String::new())
    };
    let which = match (last, class) {
        (_, Some(class)) => format!(", all the samples of class {class},"),
        (true, None) => ", the last ones,".to_owned(),
        (false, None) => String::new(),
    };
    let fix = match (class, last, evidence.wrt.is_parameter()) {
        (Some(class), ..) => format!("if the loss ignores class {class}, say so (--ignore-index {class}, or ignore_index in the metadata); else look for what masks or detaches those samples"),
        (_, _, true) => "look for a mask over the classes, frozen rows of the weight, or a hook on its gradient".to_owned(),
        (_, true, _) => "look for a last batch that is dropped (drop_last=True), a slice that ends too early, or a padded batch".to_owned(),
        _ => "look for a mask, an index, a batch that holds only a part, or a .detach() that leaves those rows out of the loss".to_owned(),
    };
    let hypothesis = Hypothesis::new(
        Code::RowsZero,
        after,
        format!("without {places}"),
        format!(
            "{name} is zero in {places}{which} and the derivative is not{and}: nothing came back from there"
        ),
        fix,
    );
    let hypothesis = hypothesis
        .evidence("rows", rows.len() as f64)
        .rows(numbers.iter());
    Some(match class {
        Some(class) => hypothesis
            .confidence(0.7)
            .classes([class])
            .test(format!("give samples of class {class} another label: if their rows are no longer zero, it is the label that is ignored")),
        None => hypothesis,
    })
}

/// The class that exactly these rows have; one row is no pattern.
fn only_class(evidence: &Evidence, rows: &Ranges) -> Option<usize> {
    if evidence.wrt.is_parameter() || rows.len() < 2 {
        return None;
    }
    let label = |row| evidence.problem.label(row);
    let class = label(rows.iter().next()?)?;
    let all = (0..evidence.problem.n())
        .filter(|&row| label(row) == Some(class))
        .count();
    (rows.iter().all(|row| label(row) == Some(class)) && all == rows.len()).then_some(class)
}
