//! `below-resolution`: the finite difference is too inaccurate.

use crate::{
    report::{Code, Comparison, Finding},
    scheme::{Method, Precision},
};

/// Returns the finding for a check with too many undecided entries.
pub(in crate::diagnose) fn finding(check: &Comparison) -> Option<Finding> {
    let counts = check.tally.counts;
    if counts.undecided <= counts.entries / 100 {
        return None;
    }
    let share = counts.undecided as f64 / counts.entries as f64;
    let message = format!(
        "the finite difference, not {}, is the limit: in {:.0} % of the entries its own error \
         exceeds the tolerance",
        check.wrt.grad_name(),
        (100.0 * share).max(1.0)
    );
    Some(Finding {
        evidence: vec![
            ("share of undecided entries".into(), share),
            ("eps".into(), check.eps),
        ],
        ..Finding::new(
            Code::BelowResolution,
            message,
            fix(check.method, check.precision),
        )
    })
}

fn fix(method: Method, precision: Precision) -> &'static str {
    match (method, precision) {
        (Method::ForwardPass, Precision::F32) => {
            "use --method difference, which does not subtract losses, or --precision f64; the best \
             step for f32 forward passes is 1e-2 to 1e-3"
        }
        (Method::ForwardPass, Precision::F64) => {
            "use --method difference, which does not subtract losses, or omit --eps"
        }
        (Method::Difference, Precision::F32) => {
            "use --precision f64, or a smaller --eps if it is above 1e-3"
        }
        (Method::Difference, Precision::F64) => {
            "omit --eps or make it smaller; a tolerance below the rounding of f64 cannot be met"
        }
    }
}
