//! `rows-scaled`: each row is off by a factor of its own.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        pair::Pair,
        words::{Words, counted, number, plural, row},
    },
    report::{Code, Ranges},
};

/// Least number of columns: with fewer, one factor per row fits anything. Chosen.
const LEAST_COLUMNS: usize = 3;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    // With two classes every row of a gradient is a multiple of one row.
    if pair.columns < LEAST_COLUMNS || evidence.problem.k() == 2 {
        return None;
    }
    let row_of = |entry: usize| entry / pair.columns;
    let usable = |factor: f64| {
        if factor.is_finite() && factor != 0.0 {
            factor
        } else {
            1.0
        }
    };
    let factors = pair.scales(pair.rows(), |entry| Some(row_of(entry)));
    let factors: Vec<f64> = factors.into_iter().map(usable).collect();
    let after = pair.divided_by(|entry| factors[row_of(entry)]);
    let uncertainty = pair.scale_uncertainty() * (pair.rows() as f64).sqrt();
    let off = || (0..pair.rows()).filter(|&row| (factors[row] - 1.0).abs() > uncertainty);
    let rows = evidence.numbers(&off().map(|row| evidence.rows[row]).collect());
    if rows.is_empty() || !after.is_explained() || !after.is_informative() {
        return None;
    }
    let (low, high) = off().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
        (factors[row].min(low), factors[row].max(high))
    });
    let times = if (high / low - 1.0).abs() <= uncertainty {
        format!("{} times the correct gradient", number(low))
    } else {
        format!(
            "the correct gradient times one factor per row, from {} to {},",
            number(low),
            number(high)
        )
    };
    let words = words(evidence, &times, &places(evidence, pair.rows(), &rows));
    Some(
        Hypothesis::new(Code::RowsScaled, after, words)
            .weighing(0.2)
            .confidence(0.9)
            .evidence("smallest factor", low)
            .evidence("largest factor", high)
            .rows(rows.iter()),
    )
}

/// Names the rows that are off, out of `examined` rows.
fn places(evidence: &Evidence, examined: usize, rows: &Ranges) -> String {
    let noun = row(evidence.wrt);
    if rows.len() == examined {
        format!("each {noun}")
    } else if evidence.is_whole() {
        counted(noun, rows)
    } else {
        let nouns = plural(noun);
        format!("{} of the {examined} {nouns} examined", rows.len())
    }
}

fn words(evidence: &Evidence, times: &str, places: &str) -> Words {
    let (name, noun) = (evidence.name(), row(evidence.wrt));
    let fix = if evidence.wrt.is_parameter() {
        "look for a learning rate or a gradient hook for some of the classes, or for class weights"
    } else {
        "look for sample weights, a focal or self-paced loss, or parts of the batch with a mean of \
         their own: they belong in the loss that is checked"
    };
    Words {
        message: format!("{name} is {times} in {places}"),
        correction: format!("with each {noun} divided by a factor of its own"),
        fix: fix.into(),
        ..Words::default()
    }
}
