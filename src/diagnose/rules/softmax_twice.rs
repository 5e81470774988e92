//! `softmax-twice`: a cross-entropy that takes probabilities for logits.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::{Datum, softmax},
        pair::Pair,
        words::Words,
    },
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &twice)?;
    Some(Hypothesis::new(Code::SoftmaxTwice, after, words(evidence)))
}

/// Writes p (v - <p,v>), the softmax's derivative of v = R softmax(p) - r. It is split so that both
/// terms of the difference, which may cancel, carry their errors.
fn twice(sample: &Datum, soft: &mut [f64], hard: &mut [f64]) {
    let p = sample.softmax;
    let mut v = p.to_vec();
    softmax(&mut v);
    let entries = v.iter_mut().zip(sample.target);
    entries.for_each(|(v, r)| *v = sample.total * *v - r);
    let mean: f64 = p.iter().zip(&v).map(|(p, v)| p * v).sum();
    for (((soft, hard), p), v) in soft.iter_mut().zip(hard).zip(p).zip(&v) {
        *soft = p * (v.abs() + mean.abs());
        *hard = *soft - p * (v - mean);
    }
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is the gradient of cross_entropy(softmax(logits)): the softmax is taken twice"
        ),
        correction: "compared with a softmax of the softmax".into(),
        fix: "pass the logits to cross_entropy, which takes the softmax itself: remove the \
              softmax at the end of the model"
            .into(),
        ..Words::default()
    }
}
