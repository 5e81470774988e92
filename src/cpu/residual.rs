//! softmax(z) minus the target distribution, without the cancellation at the target, and the weights of S + T.

use crate::tensor::Real;

/// What the loss's derivative needs of a block of rows; both [rows, k].
pub struct Residual<T> {
    /// p - y, with y one-hot. At the target it is minus the sum of the other p, so that a saturated
    /// sample (p near 1) keeps its relative accuracy.
    pub residual: Vec<T>,
    /// p + y + p (1-p) A, A the magnitude of the logit: times |W| it is S + T.
    pub conditioning: Vec<T>,
}

/// Takes `logits` and `magnitude` [rows, k] and `target` `[rows]`.
pub fn residual<T: Real>(logits: &[T], magnitude: &[T], target: &[u32], k: usize) -> Residual<T> {
    let (mut residual, mut conditioning) = (
        Vec::with_capacity(logits.len()),
        Vec::with_capacity(logits.len()),
    );
    for ((z, magnitude), &class) in logits
        .chunks_exact(k)
        .zip(magnitude.chunks_exact(k))
        .zip(target)
    {
        let class = class as usize;
        let largest = z
            .iter()
            .fold(T::neg_infinity(), |largest, &z| largest.max(z));
        let start = residual.len();
        residual.extend(z.iter().map(|&z| (z - largest).exp()));
        let p = &mut residual[start..];
        let at_target = p[class];
        p[class] = T::zero();
        let others = p.iter().fold(T::zero(), |sum, &p| sum + p);
        let sum = others + at_target;
        for (c, (p, &magnitude)) in p.iter_mut().zip(magnitude).enumerate() {
            let (y, not_p) = if c == class {
                (T::one(), others / sum)
            } else {
                (T::zero(), T::one() - *p / sum)
            };
            let probability = if c == class {
                at_target / sum
            } else {
                *p / sum
            };
            conditioning.push(probability + y + probability * not_p * magnitude);
            *p = if c == class { -not_p } else { probability };
        }
    }
    Residual {
        residual,
        conditioning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saturated_sample_keeps_its_relative_accuracy() {
        let Residual { residual, .. } = residual(&[50.0, 0.0, -1.0], &[50.0, 0.0, 1.0], &[0], 3);
        let others = (-50f64).exp() + (-51f64).exp();
        assert!((residual[0] + others).abs() < 1e-15 * others);
        assert!(residual.iter().sum::<f64>().abs() < 1e-15 * others);
    }

    #[test]
    fn conditioning_is_the_sum_of_magnitudes() {
        let Residual {
            residual,
            conditioning,
        } = residual(&[0.0, 0.0], &[2.0, 4.0], &[1], 2);
        assert_eq!(residual, [0.5, -0.5]);
        assert_eq!(conditioning, [0.5 + 0.25 * 2.0, 1.5 + 0.25 * 4.0]);
    }
}
