//! `tolerance-too-loose`: an absolute tolerance that is larger than what it is to judge.

use crate::report::{CheckReport, Code, Decision, Finding};

/// For a check in which too many entries are undecided, and not because the difference is too inaccurate.
pub(super) fn finding(check: &CheckReport) -> Option<Finding> {
    let tally = &check.tally;
    if tally.undecided <= tally.entries / 100 {
        return None;
    }
    let undecided = tally.other_samples.iter().chain(&tally.worst);
    let mut undecided = undecided.filter(|entry| entry.decision == Decision::Undecided);
    let by_atol = check.tolerance.given.is_some_and(|given| given.atol > 0.0)
        && undecided.all(|entry| entry.noise <= entry.tolerance);
    let share = tally.undecided as f64 / tally.entries as f64;
    let message = format!(
        "--atol is larger than {:.0} % of the entries: it would accept anything in their place",
        (100.0 * share).max(1.0)
    );
    by_atol.then(|| Finding {
        evidence: vec![("undecided", share)],
        ..Finding::new(
            Code::ToleranceTooLoose,
            message,
            "leave --atol out, or make it smaller than the entries that matter",
        )
    })
}
