//! `softmax-missing`: the target without the softmax.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, _, hard| {
        hard.copy_from_slice(sample.target);
    })?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::SoftmaxMissing,
        after,
        "with the softmax added",
        format!(
            "{name} is what the targets alone give: the softmax is missing, as in the negative log-likelihood of logits that were never normalised"
        ),
        "the logits' gradient is softmax(z) - onehot(target): use cross_entropy, or log_softmax before nll_loss, which takes log-probabilities and not logits",
    ))
}
