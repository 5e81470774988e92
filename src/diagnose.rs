//! Patterns in the wrong entries, and the causes they point to. One rule a file; a rule reads the report's
//! statistics and gives a finding or none.

use crate::report::{CheckReport, Finding, Verdict};

mod accumulated;
mod not_finite;

/// A rule sees the report of the whole gradient and the loss's normaliser.
type Rule = fn(&CheckReport, f64) -> Option<Finding>;

/// The rules, in the order in which they are asked; the first that explains the errors ends the search.
const RULES: [Rule; 2] = [not_finite::rule, accumulated::rule];

/// What the errors of a failed check point to; empty for any other verdict, or where no rule fits.
pub fn diagnose(check: &CheckReport, normalizer: f64) -> Vec<Finding> {
    if check.verdict() != Verdict::Fail {
        return Vec::new();
    }
    RULES
        .iter()
        .find_map(|rule| rule(check, normalizer))
        .into_iter()
        .collect()
}
