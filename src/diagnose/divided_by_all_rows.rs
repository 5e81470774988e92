//! `divided-by-all-rows`: ignored samples are masked, and counted in the mean.

use super::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByAllRows)?;
    Some(hypothesis(evidence, after))
}

/// Of a gradient that is n_valid/n of what it should be.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    let name = evidence.name();
    let (valid, all) = evidence.valid_rows();
    Hypothesis::new(
        Code::DividedByAllRows,
        after,
        format!("multiplied by {all}/{valid}"),
        format!("{name} is {valid}/{all} of the derivative: the mean was taken over all {all} rows, of which {valid} count and {} are ignored", all - valid),
        "divide by the rows that count, (target != ignore_index).sum(), not by the batch size",
    )
    .weighing(4.0)
    .factor(valid / all)
}
