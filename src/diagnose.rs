//! Finds the causes of a wrong gradient, each with its numbers, its proof and its fix. Reports
//! `unknown` if no rule explains the error.
//!
//! A rule examines the evidence and a pair: the gradient under test and the right one. It proposes
//! a cause, and the pair with that cause undone. The cause is reported if undoing it leaves no
//! error, or only a factor that the next cause explains. Several bugs at once are thus found one
//! after the other.

use crate::{
    problem::Problem,
    report::{Check, Code, Comparison, Finding, Verdict},
    tensor::Tensor,
};

mod descent;
mod errors;
mod evidence;
mod explain;
mod factor;
mod hypothesis;
mod layer;
mod least_squares;
mod losses;
mod matching;
mod pair;
mod reordering;
mod rules;
mod search;
mod words;

pub use search::Diagnosis;

use evidence::Evidence;
use rules::{below_resolution, tolerance_too_loose, tolerance_too_tight};
use search::Search;

/// Diagnoses a check. Calls `continues` before each rule, and returns `None` if `continues` returns
/// false.
pub fn diagnose(
    problem: &Problem,
    gradient: &Tensor,
    check: &Comparison,
    continues: &mut dyn FnMut() -> bool,
) -> Option<Diagnosis> {
    let only = |finding: Option<Finding>| Diagnosis {
        findings: Vec::from_iter(finding),
        tried: Vec::new(),
    };
    match check.verdict() {
        Verdict::Pass => return Some(Diagnosis::default()),
        Verdict::Inconclusive => {
            let finding = tolerance_too_loose::finding(check);
            return Some(only(finding.or_else(|| below_resolution::finding(check))));
        }
        Verdict::Fail => {}
    }
    let evidence = Evidence::new(problem, gradient, check);
    let pair = evidence.pair();
    if let Some(finding) = tolerance_too_tight::finding(check, &pair) {
        return Some(only(Some(finding)));
    }
    Search::new(&evidence, pair, continues).run()
}

/// Points the `unknown` findings of a run to the first gradient whose cause is known, because one
/// bug may explain both.
pub fn relate(checks: &mut [Check]) {
    let known = |check: &Check| {
        let finding = check.findings.first()?;
        (finding.code != Code::Unknown && check.verdict == Verdict::Fail)
            .then(|| (check.wrt.grad_name(), finding.code))
    };
    let Some((name, code)) = checks.iter().find_map(known) else {
        return;
    };
    for check in checks {
        let mut findings = check.findings.iter_mut();
        if let Some(unknown) = findings.find(|it| it.code == Code::Unknown) {
            unknown.fix = format!(
                "fix {name} first: its cause, {code}, may explain this one too; if not, {}",
                unknown.fix
            );
        }
    }
}
