//! Cross-entropy loss of each row, from its logits z [rows, k]:
//!
//! ```text
//! l = R logsumexp(z) - sum_c r[c] z[c] = sum_c r[c] (logsumexp(z) - z[c])
//! ```
//!
//! with r the weight of each class in the loss, and R their sum; see [`loss`](crate::loss).

use crate::{
    cpu::lanes::sum,
    loss::{NO_LABEL, TargetRows},
    tensor::Real,
};

/// Computes the losses, `[rows]`, of `logits` [rows, k]. Row i is a copy of sample (`first` + i) /
/// `m`.
///
/// 1. The largest logit is subtracted before exp, so that nothing overflows.
/// 2. The loss is a sum of `r[c] (logsumexp(z) - z[c])`. No term is negative, so none cancels
///    another, and a common shift of the logits, however large, cancels in the bracket.
/// 3. `r[c] = R·1[c = label] - linear[c]`, so a hard label needs only its own term.
pub fn loss<T: Real>(
    logits: &[T],
    targets: &TargetRows<T>,
    first: usize,
    m: usize,
    k: usize,
) -> Vec<T> {
    let loss = |(copy, z): (usize, &[T])| {
        let sample = (first + copy) / m;
        let (label, total) = (targets.labels[sample], targets.totals[sample]);
        let largest = z
            .iter()
            .fold(T::neg_infinity(), |largest, &z| largest.max(z));
        let log = sum(z.iter().map(|&z| (z - largest).exp())).ln();
        let at_label = if label == NO_LABEL {
            T::zero()
        } else {
            total * (log + (largest - z[label as usize]))
        };
        let linear = targets.linear.as_ref().map_or(T::zero(), |linear| {
            let terms = linear[sample * k..][..k].iter().zip(z);
            sum(terms.map(|(&linear, &z)| linear * (log + (largest - z))))
        });
        at_label - linear
    };
    logits.chunks_exact(k).enumerate().map(loss).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_minus_the_log_of_the_label_s_probability() {
        let targets = TargetRows {
            labels: vec![2, 1],
            totals: vec![1.0, 3.0],
            linear: None,
        };
        let z = [0f64, 2f64.ln(), 5f64.ln(), 1000.0, 0.0, 0.0];
        let losses = loss(&z, &targets, 0, 1, 3);
        assert!((losses[0] - (8f64 / 5.0).ln()).abs() < 1e-15);
        assert!((losses[1] - 3000.0).abs() < 1e-12);
    }

    #[test]
    fn class_probabilities_weight_the_classes() {
        // r = (0.25, 0.75): class 1 has more than half of R, so it is the label.
        let targets = TargetRows {
            labels: vec![1],
            totals: vec![1.0],
            linear: Some(vec![-0.25, 0.25]),
        };
        let z = [0f64, 1.0];
        let log = (1.0 + 1f64.exp()).ln();
        assert!((loss(&z, &targets, 0, 1, 2)[0] - (log - 0.75)).abs() < 1e-15);
    }
}
