//! `tolerance-too-tight`: a tolerance that rounding alone exceeds.

use crate::{
    diagnose::{pair::Pair, words::number},
    report::{Code, Comparison, Finding},
};

/// Returns the finding for a check with a given tolerance, if rounding explains every error.
pub(in crate::diagnose) fn finding(check: &Comparison, pair: &Pair) -> Option<Finding> {
    let given = check.tolerance.given?;
    if check.tally.counts.wrong == 0 || !pair.without_given(given).is_explained() {
        return None;
    }
    let (name, dtype) = (check.wrt.grad_name(), check.dtype);
    let message = format!(
        "{name} misses the tolerance by no more than the rounding of {dtype} explains: no gradient \
         of this type can meet it"
    );
    let fix = format!(
        "omit --rtol and --atol, so that each entry may be off by its own rounding, or compute the \
         gradient in a wider type (the largest relative error here is {})",
        number(check.tally.rel_err.max)
    );
    Some(Finding {
        confidence: 0.95,
        evidence: vec![("rtol".into(), given.rtol), ("atol".into(), given.atol)],
        ..Finding::new(Code::ToleranceTooTight, message, fix)
    })
}
