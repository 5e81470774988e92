//! `not-finite`: NaN or an infinity in the gradient under test.

use crate::report::{CheckReport, Finding};

pub(super) fn rule(check: &CheckReport, _normalizer: f64) -> Option<Finding> {
    let count = check.tally.not_finite;
    let first = check
        .tally
        .worst
        .iter()
        .find(|entry| !entry.analytic.is_finite())?;
    let place = check.wrt.place(first.row, first.column);
    let others = match count {
        1 => String::new(),
        count => format!(", and {} more entries are not finite", count - 1),
    };
    Some(Finding {
        code: "not-finite",
        factor: None,
        confidence: 1.0,
        message: format!("{place} is {} where the derivative is {:.4e}{others}", first.analytic, first.numeric),
        fix: "look for log(0), an exp that overflows or 0·inf on the way back from that row; torch.autograd.set_detect_anomaly(True) names the operation".to_owned(),
        evidence: vec![("count", count as f64)],
    })
}
