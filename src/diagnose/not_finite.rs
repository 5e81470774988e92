//! `not-finite`: NaN or an infinity in the gradient under test.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let check = evidence.check;
    if pair.live().all(|(_, a, _, _)| a.is_finite()) {
        return None;
    }
    let count = check.tally.counts.not_finite;
    let first = check
        .tally
        .kept
        .worst
        .iter()
        .find(|entry| !entry.analytic.is_finite())?;
    let [row, column] = first.index;
    let row = evidence.problem.row_number(evidence.wrt, row);
    let place = evidence.wrt.place(row, column);
    let others = match count {
        1 => String::new(),
        2 => ", and 1 more entry is not finite".to_owned(),
        count => format!(", and {} more entries are not finite", count - 1),
    };
    let rest = pair.without(|entry| !pair.a[entry].is_finite());
    let rows = (0..pair.rows()).filter(|&row| {
        pair.row(row)
            .any(|e| pair.is_live(e) && !pair.a[e].is_finite())
    });
    let hypothesis = Hypothesis::new(
        Code::NotFinite,
        rest,
        "without the entries that are not finite",
        format!(
            "{place} is {} where the derivative is {:.4e}{others}",
            first.analytic, first.numeric
        ),
        "look for log(0), an exp that overflows or 0·inf on the way back from that row: subtract the largest logit before exp, take log_softmax in place of log(softmax); torch.autograd.set_detect_anomaly(True) and jax.config.update('jax_debug_nans', True) name the operation",
    );
    let hypothesis = hypothesis.confidence(1.0).evidence("count", count as f64);
    let rows = evidence.numbers(&rows.map(|row| evidence.rows[row]).collect());
    Some(hypothesis.rows(rows.iter()))
}
