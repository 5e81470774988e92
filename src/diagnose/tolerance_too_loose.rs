//! `tolerance-too-loose`: an absolute tolerance that is larger than what it is to judge.

use crate::report::{Code, Comparison, Decision, Finding};

/// For a check in which too many entries are undecided, and not because the difference is too inaccurate.
pub(super) fn finding(check: &Comparison) -> Option<Finding> {
    let tally = &check.tally;
    if tally.counts.undecided <= tally.counts.entries / 100 {
        return None;
    }
    let undecided = tally.kept.others.iter().chain(&tally.kept.worst);
    let mut undecided = undecided.filter(|entry| entry.decision == Some(Decision::Undecided));
    let by_atol = check.tolerance.given.is_some_and(|given| given.atol > 0.0)
        && undecided.all(|entry| entry.noise <= entry.tolerance);
    let share = tally.counts.undecided as f64 / tally.counts.entries as f64;
    let message = format!(
        "--atol is larger than {:.0} % of the entries: it would accept anything in their place",
        (100.0 * share).max(1.0)
    );
    by_atol.then(|| Finding {
        evidence: vec![("undecided".to_owned(), share)],
        ..Finding::new(
            Code::ToleranceTooLoose,
            message,
            "leave --atol out, or make it smaller than the entries that matter",
        )
    })
}
