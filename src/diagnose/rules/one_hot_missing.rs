//! `one-hot-missing`: the softmax without the target.

use crate::{
    diagnose::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair, words::Words},
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, _| {
        let softmax = soft.iter_mut().zip(sample.softmax);
        softmax.for_each(|(soft, p)| *soft = sample.total * p);
    })?;
    Some(Hypothesis::new(Code::OneHotMissing, after, words(evidence)))
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is the gradient of the softmax alone: the one-hot target was never subtracted"
        ),
        correction: "with the one-hot target subtracted".into(),
        fix: "the logits' gradient is softmax(z) - onehot(target): subtract 1 at each row's \
              target (p[arange(n), target] -= 1) before the product with the weight"
            .into(),
        ..Words::default()
    }
}
