//! `below-resolution`: it is the finite difference that knows too little.

use crate::{
    report::{CheckReport, Decision, Finding, Places},
    scheme::{Method, Precision},
};

/// For a check in which too many entries are undecided.
pub(super) fn finding(check: &CheckReport) -> Option<Finding> {
    let tally = &check.tally;
    if tally.undecided <= tally.entries / 100 {
        return None;
    }
    // It is not the difference where the difference is good enough.
    let undecided = tally.other_samples.iter().chain(&tally.worst);
    let mut undecided = undecided.filter(|entry| entry.decision == Decision::Undecided);
    let by_atol = check.tolerance.given.is_some_and(|given| given.atol > 0.0)
        && undecided.all(|entry| entry.noise <= entry.tolerance);
    let share = tally.undecided as f64 / tally.entries as f64;
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
    if by_atol {
        return Some(Finding {
            code: "tolerance-too-loose",
            step: 1,
            factor: None,
            confidence: 1.0,
            message: format!(
                "--atol is larger than {:.0} % of the entries: it would accept anything in their place",
                (100.0 * share).max(1.0)
            ),
            fix: "leave --atol out, or make it smaller than the entries that matter".to_owned(),
            evidence: vec![("undecided", share)],
            places: Places::default(),
            correction: String::new(),
            proof: None,
            test: None,
        });
    }
    Some(Finding {
        code: "below-resolution",
        step: 1,
        factor: None,
        confidence: 1.0,
        message: format!(
            "the finite difference is the limit, not {}: in {:.0} % of the entries its own error is larger than the tolerance",
            check.wrt.grad_name(),
            (100.0 * share).max(1.0)
        ),
        fix: fix.to_owned(),
        evidence: vec![("undecided", share), ("eps", check.eps)],
        places: Places::default(),
        correction: String::new(),
        proof: None,
        test: None,
    })
}
