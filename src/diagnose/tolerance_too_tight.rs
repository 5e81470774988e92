//! `tolerance-too-tight`: a tolerance that rounding alone exceeds.

use super::{hypothesis::number, pair::Pair};
use crate::report::{Code, Comparison, Finding};

/// Where rounding explains every error, and the user's tolerance does not allow for it.
pub(super) fn finding(check: &Comparison, pair: &Pair) -> Option<Finding> {
    let given = check.tolerance.given?;
    let rounding = pair.without_given(given);
    if check.tally.counts.wrong == 0 || !rounding.is_explained() {
        return None;
    }
    Some(Finding {
        confidence: 0.95,
        evidence: vec![
            ("rtol".to_owned(), given.rtol),
            ("atol".to_owned(), given.atol),
        ],
        ..Finding::new(
            Code::ToleranceTooTight,
            format!(
                "{} misses the tolerance by no more than the rounding of {} explains: it is the tolerance that no gradient of this type can meet",
                check.wrt.grad_name(),
                check.dtype
            ),
            format!(
                "leave --rtol and --atol out: then each entry may be off by what rounding does to it; or compute the gradient in a wider type ({} relative is the largest error here)",
                number(check.tally.rel_err.max)
            ),
        )
    })
}
