//! What the loss's derivative needs of a block of rows: the softmax minus its target, without the cancellation at the
//! target, and the weights of the conditioning.

use crate::{
    cpu::sum,
    loss::{NO_LABEL, TargetRows},
    plan::RoundingModel,
    tensor::Real,
};

/// All [rows, k].
pub struct Residual<T> {
    /// p - onehot(label). At the label it is minus the sum of the other p, so that a saturated sample (p near 1)
    /// keeps its relative accuracy.
    pub residual: Vec<T>,
    /// R p - r, the derivative of the sample's loss with respect to its logits.
    pub gradient: Vec<T>,
    /// What |dz/dx| is multiplied by in the conditioning: see [`RoundingModel`].
    pub conditioning: Vec<T>,
    /// [rows, 2]: the largest magnitude behind a logit of the row, and the largest of what of it counts ([`RoundingModel::accumulation`]).
    pub bounds: Vec<T>,
}

/// Takes `logits` and `magnitude` [rows, k].
pub fn residual<T: Real>(
    logits: &[T],
    magnitude: &[T],
    targets: &TargetRows<T>,
    law: RoundingModel,
    k: usize,
) -> Residual<T> {
    let empty = || Vec::with_capacity(logits.len());
    let (mut residual, mut gradient, mut conditioning) = (empty(), empty(), empty());
    let mut bounds = Vec::with_capacity(2 * targets.labels.len());
    let (sums, accumulation) = (T::of(law.sums), T::of(law.accumulation));
    for (row, (&label, &total)) in targets.labels.iter().zip(&targets.totals).enumerate() {
        let entries = row * k..(row + 1) * k;
        let (z, a) = (&logits[entries.clone()], &magnitude[entries]);
        let linear = targets.linear.as_ref().map(|linear| &linear[row * k..]);
        let is_label = |c: usize| c == label as usize;
        // How far each logit may have moved: all that was summed, or the result and a share of that.
        let moved = |c: usize| {
            if accumulation == T::one() {
                a[c]
            } else {
                z[c].abs() + accumulation * a[c]
            }
        };

        let above = |largest: T, v: T| if v > largest { v } else { largest };
        bounds.push(a.iter().copied().fold(T::zero(), above));
        bounds.push((0..k).map(moved).fold(T::zero(), above));
        let largest = z
            .iter()
            .fold(T::neg_infinity(), |largest, &z| largest.max(z));
        let exp: Vec<T> = z.iter().map(|&z| (z - largest).exp()).collect();
        let others = sum((0..k).filter(|&c| !is_label(c)).map(|c| exp[c]));
        let others_moved = sum((0..k).filter(|&c| !is_label(c)).map(|c| exp[c] * moved(c)));
        let (at_label, label_moved) = match label {
            NO_LABEL => (T::zero(), T::zero()),
            label => (
                exp[label as usize],
                exp[label as usize] * moved(label as usize),
            ),
        };
        let whole = others + at_label;
        let (log, all_moved) = (whole.ln(), others_moved + label_moved);
        for c in 0..k {
            let p = exp[c] / whole;
            let (difference, not_p, elsewhere) = if is_label(c) {
                (-(others / whole), others / whole, others_moved / whole)
            } else {
                (
                    p,
                    T::one() - p,
                    (all_moved - exp[c] * moved(c)).max(T::zero()) / whole,
                )
            };
            let derivative = total * difference + linear.map_or(T::zero(), |linear| linear[c]);
            let minus_log = log + (largest - z[c]);
            residual.push(difference);
            gradient.push(derivative);
            conditioning.push(
                sums * (total * p + derivative.abs())
                    + total * p * (not_p * moved(c) + elsewhere + minus_log),
            );
        }
    }
    Residual {
        residual,
        gradient,
        conditioning,
        bounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: RoundingModel = RoundingModel {
        sums: 2.0,
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
        } = residual(&[50.0, 0.0, -1.0], &[50.0, 0.0, 1.0], &targets, LAW, 3);
        let others = (-50f64).exp() + (-51f64).exp();
        assert!((residual[0] + others).abs() < 1e-15 * others);
        assert!(residual.iter().sum::<f64>().abs() < 1e-15 * others);
        assert_eq!(residual, gradient);
    }

    #[test]
    fn conditioning_is_the_law_written_out() {
        let targets = TargetRows {
            labels: vec![1],
            totals: vec![3.0],
            linear: Some(vec![-0.5, 0.5]),
        };
        let Residual {
            gradient,
            conditioning,
            ..
        } = residual(&[0.0, 0.0], &[2.0, 4.0], &targets, LAW, 2);
        assert_eq!(gradient, [1.0, -1.0]);
        let t = 1.5 * (0.5 * 2.0 + 0.5 * 4.0 + 2f64.ln());
        assert_eq!(conditioning, [2.0 * (1.5 + 1.0) + t, 2.0 * (1.5 + 1.0) + t]);
    }
}
