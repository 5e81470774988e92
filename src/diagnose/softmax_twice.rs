//! `softmax-twice`: cross-entropy of probabilities that it takes for logits.

use super::{
    evidence::{Evidence, softmax},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let p = sample.softmax;
        let mut v = p.to_vec();
        softmax(&mut v);
        let entries = v.iter_mut().zip(sample.target);
        entries.for_each(|(v, r)| *v = sample.total * *v - r);
        let mean: f64 = p.iter().zip(&v).map(|(p, v)| p * v).sum();
        // Split so that what cancels in v - mean counts as inexact.
        for (((soft, hard), p), v) in soft.iter_mut().zip(hard).zip(p).zip(&v) {
            *soft = p * (v.abs() + mean.abs());
            *hard = *soft - p * (v - mean);
        }
    })?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::SoftmaxTwice,
        after,
        "compared with a softmax of the softmax",
        format!(
            "{name} is the gradient of cross-entropy over softmax(logits): the softmax is taken twice"
        ),
        "give cross_entropy the logits: it takes the softmax itself, so drop the softmax (or log_softmax with a second one) at the end of the model",
    ))
}
