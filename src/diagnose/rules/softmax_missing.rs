//! `softmax-missing`: the target without the softmax.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, _, hard| {
        hard.copy_from_slice(sample.target);
    })?;
    Some(Hypothesis::new(
        Code::SoftmaxMissing,
        after,
        words(evidence),
    ))
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is the gradient of the targets alone: the softmax is missing, as in the \
             negative log-likelihood of logits that were never normalized"
        ),
        correction: "with the softmax added".into(),
        fix: "the logits' gradient is softmax(z) - onehot(target): use cross_entropy, or \
              log_softmax before nll_loss, which takes log-probabilities, not logits"
            .into(),
        ..Words::default()
    }
}
