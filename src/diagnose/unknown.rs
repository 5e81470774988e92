//! `unknown`: wrong, and by no cause of the catalogue. What can be said of it is where, and what it is not.

use super::{evidence::Evidence, pair::Pair};
use crate::report::{Code, Comparison, Finding, Scale};

pub(super) fn finding(evidence: &Evidence, pair: &Pair, step: usize) -> Finding {
    let check = evidence.check;
    let tally = &check.tally;
    let name = evidence.name();
    // Of all entries where that is known: the rows that are looked at may be those that are wrong.
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
    let (scale, cosine) = whole.unwrap_or_else(|| (pair.scale(), pair.cosine()));
    let remainder = (1.0 - cosine * cosine).max(0.0).sqrt();
    let direction = match cosine {
        _ if 2 * tally.counts.wrong < tally.counts.entries => String::new(),
        c if c > 0.9999 => format!("; it points the same way as the derivative (cosine {c:.6})"),
        c if c > 0.9 => {
            format!("; it points nearly the same way as the derivative (cosine {c:.4})")
        }
        c if c > 0.0 => format!("; it points another way than the derivative (cosine {c:.2})"),
        c => format!("; it points away from the derivative (cosine {c:.2})"),
    };
    let skipped = if evidence.is_affordable() {
        ""
    } else {
        "; the problem is too large to look for causes other than one factor"
    };
    let message = match step {
        1 if tally.counts.wrong == 0 => no_entry_alone(check),
        1 => format!(
            "{name} is wrong {}, by none of the causes that gradprobe knows{direction}{skipped}",
            whereabouts(evidence)
        ),
        _ => format!(
            "what is left of the errors of {name} has none of the causes that gradprobe knows"
        ),
    };
    let mut found = Finding {
        step,
        confidence: 0.0,
        evidence: vec![
            ("scale".to_owned(), scale),
            ("cosine".to_owned(), cosine),
            ("remainder".to_owned(), remainder),
        ],
        ..Finding::new(
            Code::Unknown,
            message,
            "make the problem small (a few rows, few classes) while it still fails, switch parts of the loss off one by one, and compare with torch.nn.functional.cross_entropy in float64 on the same arrays",
        )
    };
    let zeros = (0..pair.rows()).filter(|&row| {
        pair.row(row).all(|e| pair.a[e] == 0.0)
            && pair.row(row).any(|e| pair.g[e].abs() > pair.allowed[e])
    });
    let zeros = zeros.count();
    if zeros > 0 {
        let share = zeros as f64 / pair.rows() as f64;
        found
            .evidence
            .push(("share of rows that are zero".to_owned(), share));
    }
    found
}

/// Where the wrong entries are, with rows by their numbers in the whole gradient.
fn whereabouts(evidence: &Evidence) -> String {
    let number = |row| evidence.problem.row_number(evidence.wrt, row);
    let location = if number(0) == 0 {
        evidence.check.location()
    } else {
        let mut check = evidence.check.clone();
        check.tally.number_rows(number);
        check.location()
    };
    location.map_or_else(|| "in no entry alone".to_owned(), |location| location.text)
}

/// Of a gradient that is off as a whole, or in whole columns, by less than an entry alone would show.
fn no_entry_alone(check: &Comparison) -> String {
    let name = check.wrt.grad_name();
    let off = check.columns_off();
    let few = 2 * off.len() < check.tally.columns.0.len();
    let (part, scale) = match (off.as_slice(), check.scale()) {
        ([(column, scale)], _) if few => (format!("column {column} of {name}"), *scale),
        ([(column, scale), ..], _) if few => (
            format!(
                "column {column} of {name}, as {} columns in all,",
                off.len()
            ),
            *scale,
        ),
        (_, Some(scale)) => (name.to_owned(), scale),
        _ => return format!("{name} is off by less than an entry alone shows"),
    };
    let Scale { factor, allowed } = scale;
    format!(
        "{part} is {factor:.6} times the derivative as a whole, where rounding explains {allowed:.1e} more or less, and no entry alone shows it"
    )
}
