//! `softmax-over-batch`: the softmax runs over the samples.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::{Datum, LossDerivative},
        pair::Pair,
        words::Words,
    },
    report::Code,
};

/// Least cosine at a first look, over a draw of the samples. Chosen.
const LEAST_COSINE: f64 = 0.7;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (first, all) = (evidence.samples(true), evidence.samples(false));
    if first.len() < all.len() {
        // The cosine must be larger than that of the declared loss, which has the same targets.
        let least = pair.cosine().abs().max(LEAST_COSINE);
        let is_near = |loss: &LossDerivative| {
            let g = evidence.predict(&evidence.layer, loss);
            pair.cosine_with(&g).abs() > least
        };
        let softmax = BatchSoftmax::of(evidence, &first);
        if !is_near(&softmax.by_hand()) && !is_near(&softmax.by_autograd()) {
            return None;
        }
    }
    let softmax = BatchSoftmax::of(evidence, &all);
    let after = evidence
        .explains(pair, &evidence.layer, &softmax.by_hand())
        .or_else(|| evidence.explains(pair, &evidence.layer, &softmax.by_autograd()))?;
    let words = words(evidence);
    Some(Hypothesis::new(Code::SoftmaxOverBatch, after, words))
}

/// The softmax of each class over the samples.
struct BatchSoftmax {
    /// Largest logit of each class.
    largest: Vec<f64>,
    /// sum exp(z - largest) over the samples.
    sums: Vec<f64>,
    /// sum r over the samples.
    targets: Vec<f64>,
}

impl BatchSoftmax {
    /// Estimates the sums over all samples from those given.
    fn of(evidence: &Evidence, samples: &[usize]) -> Self {
        let k = evidence.problem.k();
        let empty = || Self {
            largest: vec![f64::NEG_INFINITY; k],
            sums: vec![0.0; k],
            targets: vec![0.0; k],
        };
        let add = |all: &mut Self, sample: &Datum| {
            for c in 0..k {
                all.add(c, sample.logits[c], 1.0);
                all.targets[c] += sample.target[c];
            }
        };
        let mut all = evidence.fold_samples(samples, empty, add, |mut all, part| {
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

    /// Adds `weight` exponentials of a logit to the sum of a class.
    fn add(&mut self, class: usize, logit: f64, weight: f64) {
        let (largest, sum) = (&mut self.largest[class], &mut self.sums[class]);
        if logit > *largest {
            *sum *= (*largest - logit).exp();
            *largest = logit;
        }
        *sum += weight * (logit - *largest).exp();
    }

    fn at(&self, sample: &Datum, class: usize) -> f64 {
        (sample.logits[class] - self.largest[class]).exp() / self.sums[class]
    }

    /// Returns softmax - target, as it is written by hand.
    fn by_hand(&self) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
        move |sample, soft, hard| {
            if sample.total != 0.0 {
                (0..soft.len()).for_each(|c| soft[c] = self.at(sample, c));
                hard.copy_from_slice(sample.target);
            }
        }
    }

    /// Returns the derivative that autograd computes: the softmax of a class counts once for each
    /// target of that class.
    fn by_autograd(&self) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
        move |sample, soft, hard| {
            (0..soft.len()).for_each(|c| soft[c] = self.at(sample, c) * self.targets[c]);
            hard.copy_from_slice(sample.target);
        }
    }
}

fn words(evidence: &Evidence) -> Words {
    let name = evidence.name();
    Words {
        message: format!(
            "{name} is the gradient with a softmax over the samples of the batch, not over the \
             classes"
        ),
        correction: "compared with a softmax over the samples".into(),
        fix: "take the softmax over the last dimension: dim=1 (or -1) in PyTorch, axis=-1 in JAX \
              and NumPy; dim=0 is the batch"
            .into(),
        ..Words::default()
    }
}
