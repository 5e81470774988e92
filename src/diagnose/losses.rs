//! Losses that a rule tries in place of the declared one, given by their derivatives.

use crate::{
    loss::{NO_LABEL, TargetRows},
    problem::Problem,
};

/// One sample with its forward pass and target.
pub(super) struct Datum<'a> {
    pub(super) index: usize,
    /// z, `[k]`.
    pub(super) logits: &'a [f64],
    /// p, `[k]`.
    pub(super) softmax: &'a [f64],
    /// r, `[k]`: one-hot unless smoothed, weighted or given as probabilities.
    pub(super) target: &'a [f64],
    /// R, the sum of r.
    pub(super) total: f64,
}

/// Derivative of a sample's loss with respect to its logits, not divided by the normalizer.
///
/// It is written as `soft - hard` into two zeroed slices `[k]`. `soft` is computed from the logits
/// and carries their error; `hard` comes from the target and is exact.
pub(super) type LossDerivative<'a> = dyn Fn(&Datum, &mut [f64], &mut [f64]) + Sync + 'a;

/// Writes the derivative of the declared loss, R p - r.
pub(super) fn cross_entropy(sample: &Datum, soft: &mut [f64], hard: &mut [f64]) {
    soft.iter_mut()
        .zip(sample.softmax)
        .for_each(|(soft, p)| *soft = sample.total * p);
    hard.copy_from_slice(sample.target);
}

/// Replaces a row of logits by its softmax.
pub(super) fn softmax(logits: &mut [f64]) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|exp| *exp /= sum);
}

/// Writes the target r of a sample to `r`, and returns its sum R.
pub(super) fn target(problem: &Problem, index: usize, r: &mut [f64]) -> f64 {
    r.fill(0.0);
    if problem.is_one_hot() {
        let Some(label) = problem.label(index) else {
            return 0.0;
        };
        let weights = &problem.loss().class_weight;
        r[label] = weights.as_ref().map_or(1.0, |weights| weights[label])
            * problem
                .sample_weight()
                .map_or(1.0, |weights| weights[index]);
        return r[label];
    }
    let TargetRows {
        labels,
        totals,
        linear,
    } = problem.target_rows::<f64>(index..index + 1);
    if let Some(linear) = linear {
        r.iter_mut()
            .zip(linear)
            .for_each(|(r, linear)| *r = -linear);
    }
    if labels[0] != NO_LABEL {
        r[labels[0] as usize] += totals[0];
    }
    totals[0]
}
