//! Patterns in the wrong entries, and the causes they point to. One rule a file; a rule reads the report's
//! statistics and gives a finding or none.

use crate::report::{CheckReport, Finding, Verdict};

mod accumulated;
mod not_finite;

/// The rules, in the order in which they are asked; the first that explains the errors ends the search.
const RULES: [fn(&CheckReport) -> Option<Finding>; 2] = [not_finite::rule, accumulated::rule];

/// What the errors of a failed check point to; empty for any other verdict, or where no rule fits.
pub fn diagnose(check: &CheckReport) -> Vec<Finding> {
    if check.verdict() != Verdict::Fail {
        return Vec::new();
    }
    RULES
        .iter()
        .find_map(|rule| rule(check))
        .into_iter()
        .collect()
}
