//! Diagnosis of a wrong gradient: named causes, each with its numbers, a proof and a fix, or
//! `unknown`.
//!
//! A rule examines the evidence and a pair: the gradient under test beside the right one. It
//! proposes a cause and the pair with that cause undone. The cause is reported if undoing it leaves
//! no error, or only one factor, which the next cause then explains. Several bugs at once are
//! therefore found one after the other.

use crate::{
    problem::Problem,
    report::{Code, Comparison, Finding, Verdict},
    tensor::Tensor,
};

mod consistency;
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
mod relate;
mod reordering;
mod rules;
mod search;
mod words;

pub use consistency::relations;
pub use relate::relate;
pub use search::Diagnosis;

use evidence::Evidence;
use rules::{below_resolution, tolerance_too_loose, tolerance_too_tight::Missed};
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
    let missed = Missed::new(&evidence, &pair);
    if let Some(missed) = missed.as_ref().filter(|it| it.is_rounding(check.dtype)) {
        return Some(only(Some(missed.too_tight(check))));
    }
    let mut found = Search::new(&evidence, pair, continues).run()?;
    if let (Some(missed), [first, ..]) = (missed, found.findings.as_mut_slice())
        && first.code == Code::Unknown
    {
        missed.describe(check, first);
    }
    Some(found)
}
