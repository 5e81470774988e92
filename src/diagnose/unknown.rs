//! `unknown`: wrong, and by no cause of the catalogue. What can be said of it is where, and what it is not.

use super::{case::Case, evidence::Evidence, hypothesis::number};
use crate::report::{Finding, Places, Proof};

pub(super) fn finding(evidence: &Evidence, case: &Case, step: usize) -> Finding {
    let check = evidence.check;
    let name = evidence.name();
    let (scale, cosine) = (case.scale(), case.cosine());
    let fit = case.fit(1.0);
    let left = case.fit(scale);
    let direction = match cosine {
        c if c > 0.9999 => format!("points the same way as the derivative (cosine {c:.6})"),
        c if c > 0.9 => format!("points nearly the same way as the derivative (cosine {c:.4})"),
        c if c > 0.0 => format!("points another way than the derivative (cosine {c:.2})"),
        c => format!("points away from the derivative (cosine {c:.2})"),
    };
    let whereabouts = check.whereabouts();
    let message = match step {
        1 => format!("{name} is wrong {whereabouts}, by none of the causes that gradprobe knows; it {direction}"),
        _ => format!("what is left of the errors of {name} when that is undone has none of the causes that gradprobe knows; the rest {direction}"),
    };
    Finding {
        code: "unknown",
        step,
        factor: None,
        confidence: 0.0,
        message,
        fix: "make the problem small (a few rows, few classes) while it still fails, switch parts of the loss off one by one, and compare with torch.nn.functional.cross_entropy in float64 on the same arrays".to_owned(),
        evidence: vec![
            ("scale", scale),
            ("cosine", cosine),
            ("remainder", left.remainder),
        ],
        places: Places {
            rows: check.tally.places.rows.clone(),
            columns: check.tally.places.wrong_columns(),
            classes: check.tally.places.wrong_classes(),
        },
        correction: String::new(),
        proof: Some(Proof {
            entries: fit.entries,
            wrong: [fit.wrong, fit.wrong],
            error: [fit.remainder, fit.remainder],
        }),
        test: Some(format!(
            "divide the gradient by {}: what remains then, {} of it, is what to look for",
            number(scale),
            number(left.remainder)
        )),
    }
}
