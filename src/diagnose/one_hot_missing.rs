//! `one-hot-missing`: the softmax without the target.

use super::{evidence::Evidence, hypothesis::Hypothesis, pair::Pair};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, _| {
        let softmax = soft.iter_mut().zip(sample.softmax);
        softmax.for_each(|(soft, p)| *soft = sample.total * p);
    })?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::OneHotMissing,
        after,
        "with the one-hot target subtracted",
        format!("{name} is what the softmax alone gives: the one-hot target was never subtracted"),
        "the logits' gradient is softmax(z) - onehot(target): subtract 1 at each row's target (p[arange(n), target] -= 1) before the product with the weight",
    ))
}
