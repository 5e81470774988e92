//! `divided-by-all-rows`: ignored samples are masked, but the mean counts them.

use crate::{
    diagnose::{evidence::Evidence, factor, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (after, _) = factor::undone_of_problem(evidence, pair, Code::DividedByAllRows)?;
    Some(hypothesis(evidence, after))
}

/// Proposes the cause for a gradient that is n_valid/n of the right one.
pub(super) fn hypothesis(evidence: &Evidence, after: Pair) -> Hypothesis {
    let (valid, all) = evidence.valid_rows();
    Hypothesis::new(Code::DividedByAllRows, after, words(evidence))
        .weighing(4.0)
        .factor(valid / all)
}

fn words(evidence: &Evidence) -> Words {
    let (name, (valid, all)) = (evidence.name(), evidence.valid_rows());
    Words {
        message: format!(
            "{name} is {valid}/{all} of the correct gradient: the mean was taken over all {all} \
             rows, of which {} are ignored",
            all - valid
        ),
        correction: format!("multiplied by {all}/{valid}"),
        fix: "divide by the number of rows that count, (target != ignore_index).sum(), not by the \
              batch size"
            .into(),
        ..Words::default()
    }
}
