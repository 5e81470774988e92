//! One line on a file, and one on several files.

use super::group;
use crate::{
    output::Run,
    report::{Check, Report, Source, Verdict},
};

/// Returns the verdict on a file, or `error`.
pub fn heading(run: &Run) -> String {
    match &run.outcome {
        Ok(report) => report.verdict.to_string(),
        Err(_) => "error".to_owned(),
    }
}

/// Returns the names of the gradients that were checked. A name is followed by the cause or the
/// verdict if the gradient did not pass, and by the limit of a pass if there is one.
pub fn brief(report: &Report) -> String {
    let of_check = |check: &Check| {
        let name = check.name();
        let remark = match (check.verdict, check.findings.first(), &check.rows) {
            (Verdict::Pass, ..) if check.source == Source::BuiltIn => "self-test".to_owned(),
            (Verdict::Pass, _, Some(rows)) => {
                let [compared, of] = [rows.compared, rows.of].map(|rows| group(rows as u64));
                format!("{compared} of {of} rows")
            }
            (Verdict::Pass, ..) if check.consequence => "wrong as a consequence".to_owned(),
            (Verdict::Pass, _, None) if report.verdict != Verdict::Pass => "right".to_owned(),
            (Verdict::Pass, _, None) => return name.to_owned(),
            (_, Some(finding), _) => finding.code.to_string(),
            (other, None, _) => other.to_string(),
        };
        format!("{name} ({remark})")
    };
    let mut checks: Vec<String> = report.checks.iter().map(of_check).collect();
    let more = checks.len().saturating_sub(SHOWN);
    checks.truncate(SHOWN);
    match more {
        0 => checks.join(", "),
        more => format!("{} and {more} more", checks.join(", ")),
    }
}

/// Gradients that a line has: the four of a layer, and those of a network that come first. Chosen.
const SHOWN: usize = 5;

/// Returns the number of files that passed, and the outcomes of the others.
pub fn counts(runs: &[Run]) -> String {
    let count = |heading: &str| {
        let runs = runs.iter();
        runs.filter(|run| self::heading(run) == heading).count()
    };
    let (all, pass) = (runs.len(), count("pass"));
    let others = [
        (count("fail"), "failed"),
        (count("inconclusive"), "inconclusive"),
        (count("error"), "could not be checked"),
    ];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let others: Vec<String> = others
        .map(|(count, outcome)| format!("{count} {outcome}"))
        .collect();
    if others.is_empty() {
        format!("All {all} files pass.")
    } else {
        format!("{pass} of {all} files pass; {}.", others.join(", "))
    }
}
