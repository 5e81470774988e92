//! `tolerance-too-loose`: an absolute tolerance larger than the entries that it judges.

use crate::report::{Code, Comparison, Decision, Finding};

/// Returns the finding for a check with too many undecided entries, if the finite difference is
/// accurate enough in all undecided entries that were kept.
pub(in crate::diagnose) fn finding(check: &Comparison) -> Option<Finding> {
    let (counts, kept) = (check.tally.counts, &check.tally.kept);
    if counts.undecided <= counts.entries / 100 {
        return None;
    }
    let kept = kept.others.iter().chain(&kept.worst);
    let mut undecided = kept.filter(|entry| entry.decision == Some(Decision::Undecided));
    let has_atol = check.tolerance.given.is_some_and(|given| given.atol > 0.0);
    if !has_atol || !undecided.all(|entry| entry.noise <= entry.tolerance) {
        return None;
    }
    let share = counts.undecided as f64 / counts.entries as f64;
    let message = format!(
        "--atol is larger than {:.0} % of the entries, so it would accept any value in their place",
        (100.0 * share).max(1.0)
    );
    let fix = "omit --atol, or make it smaller than the entries that matter";
    Some(Finding {
        evidence: vec![("share of undecided entries".into(), share)],
        ..Finding::new(Code::ToleranceTooLoose, message, fix)
    })
}
