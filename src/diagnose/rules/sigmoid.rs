//! `sigmoid-instead-of-softmax`: each class on its own.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let sigmoid = soft.iter_mut().zip(sample.logits);
        sigmoid.for_each(|(soft, z)| *soft = sample.total / (1.0 + (-z).exp()));
        hard.copy_from_slice(sample.target);
    })?;
    let words = words(evidence);
    Some(Hypothesis::new(Code::SigmoidInsteadOfSoftmax, after, words))
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is the gradient with a sigmoid of each logit, not a softmax over all: it \
             belongs to binary cross-entropy"
        ),
        correction: "compared with a sigmoid of each logit".into(),
        fix: "use cross_entropy if exactly one class is right; binary_cross_entropy_with_logits \
              is for labels that do not exclude each other"
            .into(),
        ..Words::default()
    }
}
