//! `not-finite`: NaN or an infinity in the gradient under test.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::{Code, Entry},
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if pair.live().all(|it| it.a.is_finite()) {
        return None;
    }
    let tally = &evidence.check.tally;
    let mut worst = tally.kept.worst.iter();
    let first = worst.find(|entry| !entry.analytic.is_finite())?;
    let rest = pair.without(|entry| !pair.a[entry].is_finite());
    let is_bad = |&row: &usize| {
        pair.row(row)
            .any(|e| pair.is_live(e) && !pair.a[e].is_finite())
    };
    let rows = (0..pair.rows()).filter(is_bad);
    let rows = evidence.numbers(&rows.map(|row| evidence.rows[row]).collect());
    let words = words(evidence, first, tally.counts.not_finite);
    Some(
        Hypothesis::new(Code::NotFinite, rest, words)
            .confidence(1.0)
            .evidence("count", tally.counts.not_finite as f64)
            .rows(rows.iter()),
    )
}

fn words(evidence: &Evidence, first: &Entry, count: u64) -> Words {
    let [row, column] = first.index;
    let place = evidence.problem.place(evidence.wrt, row, column);
    let others = match count {
        1 => String::new(),
        2 => ", and 1 more entry is not finite".to_owned(),
        count => format!(", and {} more entries are not finite", count - 1),
    };
    Words {
        message: format!(
            "{place} is {} where the correct gradient is {:.4e}{others}",
            first.analytic, first.numeric
        ),
        correction: "without the entries that are not finite".into(),
        fix: "look for log(0), an exp that overflows, or 0·inf in the backward pass of that row: \
              subtract the largest logit before exp, and use log_softmax, not log(softmax); \
              torch.autograd.set_detect_anomaly(True) and jax.config.update('jax_debug_nans', \
              True) name the operation"
            .into(),
        ..Words::default()
    }
}
