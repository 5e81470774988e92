//! The forward pass and the derivative of a loss, computed a strip of samples at a time.

use std::ops::Range;

use super::Evidence;
use crate::{
    cpu::{
        logits::{given, logits},
        ordered::fold_parts,
    },
    diagnose::{
        layer::Layer,
        losses::{Datum, LossDerivative, softmax, target},
    },
};

/// Samples in a strip. Chosen.
pub(super) const STRIP: usize = 64;

/// A few samples, with the derivative of a loss at each of them.
pub(super) struct Strip {
    /// [samples, d]; empty if the logits are given.
    pub(super) input: Vec<f64>,
    /// z, [samples, k].
    pub(super) logits: Vec<f64>,
    /// [samples, k]: see [`Logits::magnitude`](crate::cpu::logits::Logits::magnitude).
    pub(super) magnitude: Vec<f64>,
    /// [samples, k], as `hard`: see [`LossDerivative`].
    pub(super) soft: Vec<f64>,
    pub(super) hard: Vec<f64>,
}

impl Strip {
    /// Returns the derivative with respect to the logits, (soft - hard) / z, [samples, k].
    pub(super) fn derivative(&self, z: f64) -> Vec<f64> {
        let entries = self.soft.iter().zip(&self.hard);
        entries.map(|(soft, hard)| (soft - hard) / z).collect()
    }
}

impl Evidence<'_> {
    /// Computes the forward pass of some samples through `layer` and the derivative of `loss`.
    pub(super) fn strip(&self, samples: &[usize], layer: &Layer, loss: &LossDerivative) -> Strip {
        let k = self.problem.k();
        let entries = samples.len() * k;
        let (mut soft, mut hard) = (vec![0.0; entries], vec![0.0; entries]);
        let mut rows = soft.chunks_exact_mut(k).zip(hard.chunks_exact_mut(k));
        let (input, logits, magnitude) = self.forward(samples, layer, |sample| {
            let (soft, hard) = rows.next().expect("one row per sample");
            loss(sample, soft, hard);
        });
        Strip {
            input,
            logits,
            magnitude,
            soft,
            hard,
        }
    }

    /// Folds over samples. The parts are merged in order, so that the result does not depend on the
    /// number of threads.
    pub(in crate::diagnose) fn fold_samples<T: Send>(
        &self,
        samples: &[usize],
        empty: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, &Datum) + Sync,
        merge: impl Fn(T, T) -> T + Sync,
    ) -> T {
        let part = |range: Range<usize>| {
            let mut part = empty();
            for strip in samples[range].chunks(STRIP) {
                self.forward(strip, &self.layer, |sample| add(&mut part, sample));
            }
            part
        };
        fold_parts(0..samples.len(), STRIP, part, empty(), merge)
    }

    /// Passes each of some samples to `of` in order, and returns their inputs, logits and
    /// magnitudes.
    fn forward(
        &self,
        samples: &[usize],
        layer: &Layer,
        mut of: impl FnMut(&Datum),
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (d, k) = (self.problem.d(), self.problem.k());
        let mut input: Vec<f64> = samples
            .iter()
            .flat_map(|&j| self.problem.samples().rows::<f64>(j..j + 1))
            .collect();
        if let Some(rounding) = self.operand_rounding {
            input.iter_mut().for_each(|x| *x = rounding(*x));
        }
        let z = if self.problem.is_of_logits() {
            given(&std::mem::take(&mut input))
        } else {
            logits(&input, &layer.weight, &layer.bias, d)
        };
        let (mut p, mut r) = (vec![0.0; k], vec![0.0; k]);
        for (&index, logits) in samples.iter().zip(z.logits.chunks_exact(k)) {
            p.copy_from_slice(logits);
            softmax(&mut p);
            let total = target(self.problem, index, &mut r);
            of(&Datum {
                index,
                logits,
                softmax: &p,
                target: &r,
                total,
            });
        }
        (input, z.logits, z.magnitude)
    }
}
