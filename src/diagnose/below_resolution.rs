//! `below-resolution`: it is the finite difference that knows too little.

use crate::{
    report::{Code, Comparison, Finding},
    scheme::{Method, Precision},
};

/// For a check in which too many entries are undecided.
pub(super) fn finding(check: &Comparison) -> Option<Finding> {
    let tally = &check.tally;
    if tally.counts.undecided <= tally.counts.entries / 100 {
        return None;
    }
    let share = tally.counts.undecided as f64 / tally.counts.entries as f64;
    let fix = match (check.method, check.precision) {
        (Method::ForwardPass, Precision::F32) => {
            "use --method difference, which does not subtract losses, or --precision f64; a step of 1e-2 to 1e-3 is the best that f32 forward passes have"
        }
        (Method::ForwardPass, Precision::F64) => {
            "use --method difference, which does not subtract losses, or leave --eps out"
        }
        (Method::Difference, Precision::F32) => {
            "use --precision f64, or a smaller --eps if it is over 1e-3"
        }
        (Method::Difference, Precision::F64) => {
            "leave --eps out, or make it smaller; a tolerance below the rounding of f64 cannot be met"
        }
    };
    let message = format!(
        "the finite difference is the limit, not {}: in {:.0} % of the entries its own error is larger than the tolerance",
        check.wrt.grad_name(),
        (100.0 * share).max(1.0)
    );
    Some(Finding {
        evidence: vec![
            ("undecided".to_owned(), share),
            ("eps".to_owned(), check.eps),
        ],
        ..Finding::new(Code::BelowResolution, message, fix)
    })
}
