//! `sigmoid-instead-of-softmax`: each class on its own.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let sigmoid = soft.iter_mut().zip(sample.logits);
        sigmoid.for_each(|(soft, z)| *soft = sample.total / (1.0 + (-z).exp()));
        hard.copy_from_slice(sample.target);
    })?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::SigmoidInsteadOfSoftmax,
        after,
        "compared with a sigmoid of each logit",
        format!(
            "{name} is the gradient with a sigmoid of each logit in place of the softmax over all: it belongs to binary cross-entropy"
        ),
        "use cross_entropy where one class is right; binary_cross_entropy_with_logits is for labels that do not exclude each other",
    ))
}
