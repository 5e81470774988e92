//! The loss of each row: logsumexp(z) - `z[target]`.

use crate::tensor::Real;

/// Takes `logits` [rows, k] and `target` `[rows]`; returns `[rows]`.
pub fn loss<T: Real>(logits: &[T], target: &[u32], k: usize) -> Vec<T> {
    let loss = |(z, &class): (&[T], &u32)| {
        let largest = z
            .iter()
            .fold(T::neg_infinity(), |largest, &z| largest.max(z));
        let sum = z
            .iter()
            .fold(T::zero(), |sum, &z| sum + (z - largest).exp());
        sum.ln() + largest - z[class as usize]
    };
    logits.chunks_exact(k).zip(target).map(loss).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_minus_log_of_the_target_probability() {
        let z = [0f64, 2f64.ln(), 5f64.ln()];
        assert!((loss(&z, &[2], 3)[0] - (8f64 / 5.0).ln()).abs() < 1e-15);
        assert!((loss(&[1000f64, 0.0], &[1], 2)[0] - 1000.0).abs() < 1e-12);
    }
}
