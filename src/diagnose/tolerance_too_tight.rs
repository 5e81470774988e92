//! `tolerance-too-tight`: a tolerance that rounding alone exceeds.

use super::{case::Case, hypothesis::number};
use crate::report::{CheckReport, Finding, Places};

/// Where rounding explains every error, and the user's tolerance does not allow for it.
pub(super) fn finding(check: &CheckReport, case: &Case) -> Option<Finding> {
    let given = check.tolerance.given?;
    let rounding = case.without_given(given);
    if check.tally.wrong == 0 || !rounding.is_explained() {
        return None;
    }
    Some(Finding {
        code: "tolerance-too-tight",
        step: 1,
        factor: None,
        confidence: 0.95,
        message: format!(
            "{} misses the tolerance by no more than the rounding of {} explains: it is the tolerance that no gradient of this type can meet",
            check.wrt.grad_name(),
            check.dtype
        ),
        fix: format!(
            "leave --rtol and --atol out: then each entry may be off by what rounding does to it; or compute the gradient in a wider type ({} relative is the largest error here)",
            number(check.tally.max_rel_err)
        ),
        evidence: vec![("rtol", given.rtol), ("atol", given.atol)],
        places: Places::default(),
        correction: String::new(),
        proof: None,
        test: None,
    })
}
