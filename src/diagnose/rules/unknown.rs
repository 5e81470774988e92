//! `unknown`: errors that no cause in the catalogue explains. The finding reports their places.

use crate::{
    diagnose::{evidence::Evidence, pair::Pair},
    report::{Code, Comparison, Finding, Scale},
};

const FIX: &str = "make the problem small (few rows, few classes) while it still fails, turn off \
                   parts of the loss one by one, and compare with \
                   torch.nn.functional.cross_entropy in float64 on the same arrays";

/// Returns the finding for the errors of a pair that remain at a step.
pub(in crate::diagnose) fn finding(evidence: &Evidence, pair: &Pair, step: usize) -> Finding {
    let (scale, cosine) = scale_and_cosine(evidence, pair, step);
    let remainder = (1.0 - cosine * cosine).max(0.0).sqrt();
    let mut found = Finding {
        step,
        confidence: 0.0,
        evidence: vec![
            ("scale".into(), scale),
            ("cosine".into(), cosine),
            ("remainder".into(), remainder),
        ],
        ..Finding::new(Code::Unknown, message(evidence, step, cosine), FIX)
    };
    let is_zero = |&row: &usize| {
        let mut entries = pair.row(row);
        pair.row(row).all(|e| pair.a[e] == 0.0) && entries.any(|e| pair.is_visible(e))
    };
    let zeros = (0..pair.rows()).filter(is_zero).count();
    if zeros > 0 {
        let share = zeros as f64 / pair.rows() as f64;
        let name = "share of rows that are zero".to_owned();
        found.evidence.push((name, share));
    }
    found
}

/// Returns scale and cosine over all entries if they are known: most of the examined rows may be
/// wrong ones.
fn scale_and_cosine(evidence: &Evidence, pair: &Pair, step: usize) -> (f64, f64) {
    let tally = &evidence.check.tally;
    let whole = tally.scale().filter(|_| step == 1).map(|scale| {
        let (aa, gg) = (
            tally.sums.analytic_analytic.value(),
            tally.sums.numeric_numeric.value(),
        );
        (
            scale,
            tally.sums.analytic_numeric.value() / (aa * gg).sqrt(),
        )
    });
    whole.unwrap_or_else(|| (pair.scale(), pair.cosine()))
}

fn message(evidence: &Evidence, step: usize, cosine: f64) -> String {
    let (check, name) = (evidence.check, evidence.name());
    if step > 1 {
        return format!("no cause in the catalogue explains the errors that are left in {name}");
    }
    if check.tally.counts.wrong == 0 {
        return no_single_entry(check, evidence.column_noun());
    }
    let skipped = if evidence.is_affordable() {
        ""
    } else {
        "; the problem is too large to look for causes other than one factor"
    };
    format!(
        "{name} is wrong {}, and no cause in the catalogue explains it{}{skipped}",
        whereabouts(evidence),
        direction(check, cosine)
    )
}

/// Describes the direction of the gradient if most entries are wrong.
fn direction(check: &Comparison, cosine: f64) -> String {
    let points = match cosine {
        _ if 2 * check.tally.counts.wrong < check.tally.counts.entries => return String::new(),
        c if c > 0.9999 => format!("the same way as the correct gradient (cosine {c:.6})"),
        c if c > 0.9 => format!("nearly the same way as the correct gradient (cosine {c:.4})"),
        c if c > 0.0 => format!("another way than the correct gradient (cosine {c:.2})"),
        c => format!("away from the correct gradient (cosine {c:.2})"),
    };
    format!("; it points {points}")
}

/// Returns the places of the wrong entries, with rows numbered as in the whole gradient.
fn whereabouts(evidence: &Evidence) -> String {
    let number = |row| evidence.problem.row_number(evidence.wrt, row);
    let location = if number(0) == 0 {
        evidence.check.location(evidence.layout())
    } else {
        let mut check = evidence.check.clone();
        check.tally.number_rows(number);
        check.location(evidence.layout())
    };
    location.map_or_else(|| "in no single entry".to_owned(), |location| location.text)
}

/// Describes a gradient that is off as a whole, or in whole columns, by too little to show in a
/// single entry.
fn no_single_entry(check: &Comparison, column_noun: &str) -> String {
    let name = check.wrt.grad_name();
    let off = check.columns_off();
    let few = 2 * off.len() < check.tally.columns.0.len();
    let (part, scale) = match (off.as_slice(), check.scale()) {
        ([(column, scale)], _) if few => (format!("{column_noun} {column} of {name}"), *scale),
        ([(column, scale), ..], _) if few => (
            format!(
                "{column_noun} {column} of {name} (and {} more)",
                off.len() - 1
            ),
            *scale,
        ),
        (_, Some(scale)) => (name.to_owned(), scale),
        _ => return format!("{name} is off by less than shows in a single entry"),
    };
    let Scale { factor, allowed } = scale;
    format!(
        "{part} is {factor:.6} times the correct gradient as a whole, but rounding explains only \
         ±{allowed:.1e}; no single entry shows it"
    )
}
