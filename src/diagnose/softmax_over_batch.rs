//! `softmax-over-batch`: the softmax runs down the samples.

use super::{
    evidence::{Datum, Evidence, Model},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::report::Code;

/// What a first look, at a draw of the samples, must show.
const LEAST_COSINE: f64 = 0.7;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (first, all) = (evidence.samples(true), evidence.samples(false));
    if first.len() < all.len() {
        // Nearer than the loss as it is, of which the targets are a part as well.
        let least = pair.cosine().abs().max(LEAST_COSINE);
        let near = |model: &Model| {
            let g = evidence.predict(&evidence.layer, model);
            pair.cosine_with(&g).abs() > least
        };
        let columns = Columns::of(evidence, &first);
        if !near(&columns.by_hand()) && !near(&columns.by_autograd()) {
            return None;
        }
    }
    let columns = Columns::of(evidence, &all);
    let after = evidence
        .explains(pair, &evidence.layer, &columns.by_hand())
        .or_else(|| evidence.explains(pair, &evidence.layer, &columns.by_autograd()))?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::SoftmaxOverBatch,
        after,
        "compared with a softmax over the samples",
        format!(
            "{name} is the gradient with a softmax that runs over the samples of the batch, not over the classes"
        ),
        "take the softmax over the last dimension: dim=1 (or -1) in PyTorch, axis=-1 in JAX and NumPy, where dim=0 is the batch",
    ))
}
/// The softmax of each class over the samples.
struct Columns {
    /// The largest logit of each class.
    largest: Vec<f64>,
    /// sum exp(z - largest) over the samples.
    sums: Vec<f64>,
    /// sum r over the samples.
    targets: Vec<f64>,
}

impl Columns {
    /// Of all samples, as far as these stand for them.
    fn of(evidence: &Evidence, samples: &[usize]) -> Self {
        let k = evidence.problem.k();
        let empty = || Self {
            largest: vec![f64::NEG_INFINITY; k],
            sums: vec![0.0; k],
            targets: vec![0.0; k],
        };
        let add = |columns: &mut Self, sample: &Datum| {
            for c in 0..k {
                columns.add(c, sample.logits[c], 1.0);
                columns.targets[c] += sample.target[c];
            }
        };
        let mut all = evidence.each_sample(samples, empty, add, |mut all, part| {
            for c in 0..k {
                all.add(c, part.largest[c], part.sums[c]);
                all.targets[c] += part.targets[c];
            }
            all
        });
        let share = evidence.problem.n() as f64 / samples.len() as f64;
        let counts = all.sums.iter_mut().chain(&mut all.targets);
        counts.for_each(|count| *count *= share);
        all
    }

    fn add(&mut self, class: usize, logit: f64, weight: f64) {
        let (largest, sum) = (&mut self.largest[class], &mut self.sums[class]);
        if logit > *largest {
            *sum *= (*largest - logit).exp();
            *largest = logit;
        }
        *sum += weight * (logit - *largest).exp();
    }

    fn softmax(&self, sample: &Datum, class: usize) -> f64 {
        (sample.logits[class] - self.largest[class]).exp() / self.sums[class]
    }

    /// softmax - target, as it is written by hand.
    fn by_hand(&self) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
        move |sample, soft, hard| {
            if sample.total > 0.0 {
                (0..soft.len()).for_each(|c| soft[c] = self.softmax(sample, c));
                hard.copy_from_slice(sample.target);
            }
        }
    }

    /// What autograd has: the softmax of a class is there for each target of it.
    fn by_autograd(&self) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
        move |sample, soft, hard| {
            (0..soft.len()).for_each(|c| soft[c] = self.softmax(sample, c) * self.targets[c]);
            hard.copy_from_slice(sample.target);
        }
    }
}
