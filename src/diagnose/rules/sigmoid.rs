//! `sigmoid-instead-of-softmax`: each class on its own.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    loss::Target,
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    // Labels of several outputs need not sum to 1, but each output has the weight of its sample.
    let is_of_outputs = matches!(evidence.problem.target(), Target::Probabilities(_));
    let weights = evidence.problem.sample_weight();
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let total = if is_of_outputs && !evidence.is_weighted() {
            weights.map_or(1.0, |weights| weights[sample.index])
        } else {
            sample.total
        };
        let sigmoid = soft.iter_mut().zip(sample.logits);
        sigmoid.for_each(|(soft, z)| *soft = total / (1.0 + (-z).exp()));
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
