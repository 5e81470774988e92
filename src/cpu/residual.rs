//! Softmax minus target of a block of rows, and the conditioning weights. With p the softmax of the
//! logits z, y the label, and R, r and linear the [targets](crate::loss) of a row,
//!
//! ```text
//! residual[c]     = p[c] - 1[c = y]
//! gradient[c]     = R p[c] - r[c] = R residual[c] + linear[c]
//! conditioning[c] = sums (|R| p[c] + |gradient[c]|) + alike |R| p[c]
//!                   + |R| p[c] max((1 - p[c]) M[c] + sum_{b != c} p[b] M[b] - log p[c], |lse| / 2)
//!                   + (at_max + lost_at_max sum_b exp(z[b] - max z)) |R|
//!                   if z[c] is the largest, or may be, in view of its error
//! lse             = log sum_c exp(z[c])
//! bounds          = max_c A[c], max_c M[c]
//! ```
//!
//! The conditioning weights times |dz/dx| are the conditioning of an entry. [`RoundingModel`]
//! derives them. M is the logit error, a bound that follows from the magnitude A of the logit.
//!
//! 1. The largest logit is subtracted before exp, so that nothing overflows.
//! 2. The exponentials of the classes other than the label are summed separately. The residual at
//!    the label is minus the sum of the other p, so it keeps its relative accuracy even if p is
//!    close to 1 there.
//! 3. The sum over b != c is the sum over all b minus the term of c. Rounding may make the
//!    difference negative, so it is clamped to 0. At the label, the sum over the others is known
//!    from 2.
//! 4. `-log p[c]` is log(sum of the exponentials) + (largest - z\[c\]), a sum of positive numbers.

use crate::{
    cpu::lanes::{larger, sum},
    loss::{NO_LABEL, TargetRows},
    rounding::RoundingModel,
    tensor::Real,
};

/// Result of [`residual`].
pub struct Residual<T> {
    /// The residual p - onehot(label), [rows, k].
    pub residual: Vec<T>,
    /// The derivative of the sample's loss with respect to its logits, R p - r, [rows, k].
    pub gradient: Vec<T>,
    /// The conditioning weights, [rows, k].
    pub conditioning: Vec<T>,
    /// The largest magnitude of a logit and the largest logit error of each row, [rows, 2].
    pub bounds: Vec<T>,
}

/// Computes the residual of `logits` [rows, k] with their `magnitude` [rows, k].
pub fn residual<T: Real>(
    logits: &[T],
    magnitude: &[T],
    targets: &TargetRows<T>,
    model: RoundingModel,
    k: usize,
) -> Residual<T> {
    let empty = || Vec::with_capacity(logits.len());
    let mut result = Residual {
        residual: empty(),
        gradient: empty(),
        conditioning: empty(),
        bounds: Vec::with_capacity(2 * targets.labels.len()),
    };
    let rows = logits.chunks_exact(k).zip(magnitude.chunks_exact(k));
    let mut errors = Vec::with_capacity(k);
    for (row, (z, a)) in rows.enumerate() {
        errors.clear();
        errors.extend(z.iter().zip(a).map(|(&z, &a)| model.logit_error(z, a)));
        let largest = |values: &[T]| {
            let larger = |largest, &value| larger(value, largest);
            values.iter().fold(T::zero(), larger)
        };
        let largest_error = largest(&errors);
        result.bounds.extend([largest(a), largest_error]);
        let ties = model.ties(largest_error);
        result.push_row(row, (z, &errors, ties), targets, model);
    }
    result
}

impl<T: Real> Residual<T> {
    /// Appends a row with logits z, the bounds on their errors, and the distance within which a
    /// logit may be the largest.
    fn push_row(
        &mut self,
        row: usize,
        (z, errors, ties): (&[T], &[T], T),
        targets: &TargetRows<T>,
        model: RoundingModel,
    ) {
        let [sums, alike, half] = [model.sums, model.alike, 0.5].map(T::of);
        let [at_max, lost_at_max] = [model.at_max, model.lost_at_max].map(T::of);
        let (k, label, total) = (z.len(), targets.labels[row], targets.totals[row]);
        let linear = targets.linear.as_ref().map(|linear| &linear[row * k..]);
        let is_label = move |c: usize| c == label as usize;
        let largest = z
            .iter()
            .fold(T::neg_infinity(), |largest, &z| largest.max(z));
        let exp: Vec<T> = z.iter().map(|&z| (z - largest).exp()).collect();
        let others = || (0..k).filter(move |&c| !is_label(c));
        let sum_others = sum(others().map(|c| exp[c]));
        let error_others = sum(others().map(|c| exp[c] * errors[c]));
        let (at_label, error_label) = match label {
            NO_LABEL => (T::zero(), T::zero()),
            label => (
                exp[label as usize],
                exp[label as usize] * errors[label as usize],
            ),
        };
        let whole = sum_others + at_label;
        let (log, error_all) = (whole.ln(), error_others + error_label);
        let of_lse = half * (largest + log).abs();
        for c in 0..k {
            let p = exp[c] / whole;
            let (residual, not_p, elsewhere) = if is_label(c) {
                let not_p = sum_others / whole;
                (-not_p, not_p, error_others / whole)
            } else {
                let elsewhere = (error_all - exp[c] * errors[c]).max(T::zero());
                (p, T::one() - p, elsewhere / whole)
            };
            let gradient = total * residual + linear.map_or(T::zero(), |linear| linear[c]);
            let minus_log = log + (largest - z[c]);
            let weight = total.abs();
            let of_p = larger(not_p * errors[c] + elsewhere + minus_log, of_lse);
            let of_max = if largest - z[c] <= ties {
                (at_max + lost_at_max * whole) * weight
            } else {
                T::zero()
            };
            self.residual.push(residual);
            self.gradient.push(gradient);
            self.conditioning
                .push(sums * (weight * p + gradient.abs()) + weight * p * (alike + of_p) + of_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: RoundingModel = RoundingModel {
        sums: 2.0,
        alike: 0.25,
        at_max: 0.75,
        lost_at_max: 0.125,
        unit_roundoff: 1e-6,
        accumulation: 1.0,
    };

    #[test]
    fn a_saturated_sample_keeps_its_relative_accuracy() {
        let targets = TargetRows {
            labels: vec![0],
            totals: vec![1.0],
            linear: None,
        };
        let Residual {
            residual, gradient, ..
        } = residual(&[50.0, 0.0, -1.0], &[50.0, 0.0, 1.0], &targets, MODEL, 3);
        let others = (-50f64).exp() + (-51f64).exp();
        assert!((residual[0] + others).abs() < 1e-15 * others);
        assert!(residual.iter().sum::<f64>().abs() < 1e-15 * others);
        assert_eq!(residual, gradient);
    }

    #[test]
    fn conditioning_equals_the_formula_of_the_module() {
        let targets = TargetRows {
            labels: vec![1],
            totals: vec![3.0],
            linear: Some(vec![-0.5, 0.5]),
        };
        let Residual {
            gradient,
            conditioning,
            ..
        } = residual(&[0.0, 0.0], &[2.0, 4.0], &targets, MODEL, 2);
        assert_eq!(gradient, [1.0, -1.0]);
        let t = 1.5 * (0.25 + (0.5 * 2.0 + 0.5 * 4.0 + 2f64.ln()));
        let expected = 2.0 * (1.5 + 1.0) + t + (0.75 + 0.125 * 2.0) * 3.0;
        assert_eq!(conditioning, [expected, expected]);
    }
}
