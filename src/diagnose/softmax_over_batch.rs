//! `softmax-over-batch`: the softmax runs down the samples.

use super::{
    case::Case,
    evidence::{Evidence, Sample},
    hypothesis::Hypothesis,
};

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let k = evidence.problem.k();
    // The largest logit of each class, sum exp(z - largest), and sum r.
    let empty = || (vec![f64::NEG_INFINITY; k], vec![0.0; k], vec![0.0; k]);
    let columns = evidence.each_sample(
        empty,
        |(largest, sums, targets), sample| {
            for c in 0..k {
                add(&mut largest[c], &mut sums[c], sample.logits[c], 1.0);
                targets[c] += sample.target[c];
            }
        },
        |(mut largest, mut sums, mut targets), other| {
            for c in 0..k {
                add(&mut largest[c], &mut sums[c], other.0[c], other.1[c]);
                targets[c] += other.2[c];
            }
            (largest, sums, targets)
        },
    );
    let (largest, sums, targets) = columns;
    let softmax = |sample: &Sample, c: usize| (sample.logits[c] - largest[c]).exp() / sums[c];
    // As it is written by hand, and as autograd has it.
    let by_hand = |sample: &Sample, soft: &mut [f64], hard: &mut [f64]| {
        if sample.total > 0.0 {
            (0..k).for_each(|c| soft[c] = softmax(sample, c));
            hard.copy_from_slice(sample.target);
        }
    };
    let by_autograd = |sample: &Sample, soft: &mut [f64], hard: &mut [f64]| {
        (0..k).for_each(|c| soft[c] = softmax(sample, c) * targets[c]);
        hard.copy_from_slice(sample.target);
    };
    let after = evidence
        .explains(case, &evidence.layer, &by_hand)
        .or_else(|| evidence.explains(case, &evidence.layer, &by_autograd))?;
    let name = evidence.name();
    Some(Hypothesis::new(
        "softmax-over-batch",
        after,
        "compared with a softmax over the samples",
        format!("{name} is the gradient with a softmax that runs over the samples of the batch, not over the classes"),
        "take the softmax over the last dimension: dim=1 (or -1) in PyTorch, axis=-1 in JAX and NumPy, where dim=0 is the batch",
    ))
}

/// sum exp(z - largest), with one more term.
fn add(largest: &mut f64, sum: &mut f64, value: f64, weight: f64) {
    if value > *largest {
        *sum *= (*largest - value).exp();
        *largest = value;
    }
    *sum += weight * (value - *largest).exp();
}
