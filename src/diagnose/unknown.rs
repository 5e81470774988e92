//! `unknown`: wrong, and by no cause of the catalogue. What can be said of it is where, and what it is not.

use super::{case::Case, evidence::Evidence};
use crate::report::{Finding, Places};

pub(super) fn finding(evidence: &Evidence, case: &Case, step: usize) -> Finding {
    let check = evidence.check;
    let tally = &check.tally;
    let name = evidence.name();
    // Of all entries where that is known: the rows that are looked at may be those that are wrong.
    let whole = tally.scale().filter(|_| step == 1).map(|scale| {
        let (aa, gg) = (
            tally.analytic_analytic.value(),
            tally.numeric_numeric.value(),
        );
        (scale, tally.analytic_numeric.value() / (aa * gg).sqrt())
    });
    let (scale, cosine) = whole.unwrap_or_else(|| (case.scale(), case.cosine()));
    let remainder = (1.0 - cosine * cosine).max(0.0).sqrt();
    let direction = match cosine {
        _ if 2 * tally.wrong < tally.entries => String::new(),
        c if c > 0.9999 => format!("; it points the same way as the derivative (cosine {c:.6})"),
        c if c > 0.9 => {
            format!("; it points nearly the same way as the derivative (cosine {c:.4})")
        }
        c if c > 0.0 => format!("; it points another way than the derivative (cosine {c:.2})"),
        c => format!("; it points away from the derivative (cosine {c:.2})"),
    };
    let message = match step {
        1 => format!(
            "{name} is wrong {}, by none of the causes that gradprobe knows{direction}",
            check.whereabouts()
        ),
        _ => format!(
            "what is left of the errors of {name} has none of the causes that gradprobe knows"
        ),
    };
    let mut found = Finding {
        code: "unknown",
        step,
        factor: None,
        confidence: 0.0,
        message,
        fix: "make the problem small (a few rows, few classes) while it still fails, switch parts of the loss off one by one, and compare with torch.nn.functional.cross_entropy in float64 on the same arrays".to_owned(),
        evidence: vec![
            ("scale", scale),
            ("cosine", cosine),
            ("remainder", remainder),
        ],
        // The report says where.
        places: Places::default(),
        correction: String::new(),
        proof: None,
        test: None,
    };
    let zeros = (0..case.rows()).filter(|&row| {
        case.row(row).all(|e| case.a[e] == 0.0)
            && case.row(row).any(|e| case.g[e].abs() > case.allowed[e])
    });
    let zeros = zeros.count();
    if zeros > 0 {
        let share = zeros as f64 / case.rows() as f64;
        found.evidence.push(("share of rows that are zero", share));
    }
    found
}
