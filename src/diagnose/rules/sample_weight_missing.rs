//! `sample-weight-missing`: one weight for all samples in place of the upstream gradient.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::target,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let weights = evidence.problem.sample_weight()?;
    let plain = evidence.problem.without_sample_weight();
    let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
        let total = target(&plain, sample.index, hard);
        let soft = soft.iter_mut().zip(sample.softmax);
        soft.for_each(|(soft, p)| *soft = total * p);
    })?;
    let (scale, uncertainty) = (after.scale(), after.scale_uncertainty());
    let is_near = |weight: f64| (scale - weight).abs() <= uncertainty * weight.abs();
    let (after, weight) = if is_near(1.0) {
        (after, 1.0)
    } else {
        (after.divided(scale), scale)
    };
    let is_first = weights.first().is_some_and(|first| is_near(*first));
    let words = words(evidence, weight, is_first);
    Some(Hypothesis::new(Code::SampleWeightMissing, after, words).evidence("weight", weight))
}

fn words(evidence: &Evidence, weight: f64, is_first: bool) -> Words {
    let (name, weight) = (evidence.name(), number(weight));
    let first = if is_first {
        ", the first entry of sample_weight"
    } else {
        ""
    };
    Words {
        message: format!(
            "{name} is the gradient with a weight of {weight}{first} for every sample, but the \
             file gives each its own sample_weight"
        ),
        correction: format!("compared with a weight of {weight} for every sample"),
        fix:
            "multiply the gradient of each sample's loss by its own entry of the upstream gradient \
              (grad_output[:, None] in a custom backward pass), not by a sum, a mean or one entry"
                .into(),
        ..Words::default()
    }
}
