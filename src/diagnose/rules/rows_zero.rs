//! `rows-zero`: some rows are zero that should not be.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, counted, number, row},
    },
    report::{Code, Ranges},
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let zero = zero_rows(pair)?;
    let rest = pair.without(|entry| zero.binary_search(&(entry / pair.columns)).is_ok());
    // The finding lists places among all rows, not only the chosen ones.
    let wrong = evidence.check.tally.places.rows.iter();
    let rows: Ranges = wrong
        .filter(|&row| evidence.given(&[row]).iter().all(|a| *a == 0.0))
        .collect();
    // A mean over the other rows comes from the same mistake.
    let (valid, _) = evidence.valid_rows();
    let factor = valid / (valid - rows.len() as f64);
    let divided = rest.divided(factor);
    let is_mean = evidence.is_mean() && !rest.is_explained() && divided.is_explained();
    let numbers = evidence.numbers(&rows);
    let all = evidence.problem.rows(evidence.wrt);
    let zeros = ZeroRows {
        places: counted(row(evidence.wrt), &numbers),
        class: only_class(evidence, &rows),
        are_last: rows.ranges().len() == 1 && rows.ranges()[0].end == all,
        mean_factor: is_mean.then_some(factor),
    };
    let after = if is_mean { divided } else { rest };
    let hypothesis = Hypothesis::new(Code::RowsZero, after, words(evidence, &zeros))
        .evidence("rows", rows.len() as f64)
        .rows(numbers.iter());
    Some(match zeros.class {
        Some(class) => hypothesis.confidence(0.7).classes([class]),
        None => hypothesis,
    })
}

/// Returns the rows that are zero but should not be. Returns `None` if there are none, if all rows
/// are zero, or if as many rows that should be zero are not: then rows have only moved.
fn zero_rows(pair: &Pair) -> Option<Vec<usize>> {
    let is_zero = |row: usize| pair.row(row).all(|entry| pair.a[entry] == 0.0);
    let is_visible = |row: usize| pair.row(row).any(|entry| pair.is_visible(entry));
    let zero: Vec<usize> = (0..pair.rows())
        .filter(|&row| is_zero(row) && is_visible(row))
        .collect();
    let is_missing = |row: &usize| !is_zero(*row) && pair.row(*row).all(|e| pair.g[e] == 0.0);
    let missing = (0..pair.rows()).filter(is_missing).count();
    (zero.len() != pair.rows() && zero.len() > missing).then_some(zero)
}

/// Returns the class whose samples are exactly these rows, if there are at least two rows.
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

/// The rows that are zero, and what they have in common.
struct ZeroRows {
    places: String,
    class: Option<usize>,
    are_last: bool,
    /// Factor of the other rows, if the mean leaves out the zero rows.
    mean_factor: Option<f64>,
}

fn words(evidence: &Evidence, zeros: &ZeroRows) -> Words {
    let (name, places) = (evidence.name(), &zeros.places);
    let which = match (zeros.are_last, zeros.class) {
        (_, Some(class)) => format!(" (all samples of class {class})"),
        (true, None) => " (the last ones)".to_owned(),
        (false, None) => String::new(),
    };
    let others = match zeros.mean_factor {
        Some(factor) => format!(
            ", and the others are {} times as large, as in a mean of them alone",
            number(factor)
        ),
        None => String::new(),
    };
    let fix = match (zeros.class, zeros.are_last, evidence.wrt.is_parameter()) {
        (Some(class), ..) => format!(
            "if the loss ignores class {class}, declare it (--ignore-index {class}, or \
             ignore_index in the metadata); otherwise look for what masks or detaches those samples"
        ),
        (_, _, true) => {
            "look for a mask over the classes, frozen rows of the weight, or a hook on \
                         its gradient"
                .to_owned()
        }
        (_, true, _) => "look for a dropped last batch (drop_last=True), a slice that ends too \
                         early, or a padded batch"
            .to_owned(),
        _ => "look for a mask, an index, a batch that holds only a part, or a .detach() that \
              leaves those rows out of the loss"
            .to_owned(),
    };
    let test = zeros.class.map(|class| {
        format!(
            "give the samples of class {class} another label: if their rows are no longer zero, \
             the label is ignored"
        )
    });
    Words {
        message: format!(
            "{name} is zero in {places}{which}, but the correct gradient is not{others}: no \
             gradient flows back there"
        ),
        correction: format!("without {places}"),
        fix,
        test,
    }
}
