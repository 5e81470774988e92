//! The likeness of a problem's samples. The rounding errors of alike samples do not average out.

use rand::{SeedableRng, rngs::ChaCha8Rng};
use rayon::prelude::*;

use crate::{budget, cpu::logits::logits, problem::Problem, tensor::Dtype};

/// The softmax of a random draw of the samples that are not ignored.
pub(super) struct Draw {
    /// The number of all samples, here and elsewhere.
    n: usize,
    /// The sum of exp(z - max z) of each.
    sums: Vec<f64>,
    /// logsumexp(z) of each.
    lse: Vec<f64>,
    /// The largest -log p of each class, or |logsumexp| if it is larger, `[k]`.
    minus_log: Vec<f64>,
    /// The sum of the logits of each class, `[k]`.
    logits: Vec<f64>,
    /// The largest share of equal logits in a sample.
    equal_logits: f64,
}

/// The likeness of the samples to each other.
///
/// Two samples are equal if their softmax is: if the sums behind it have the same bits in f64.
/// Every program then makes the same rounding errors in both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Likeness {
    /// The number of equal samples that a sample has on average, itself included: 1 to n.
    pub(crate) multiplicity: f64,
    /// The same for samples whose log p or logsumexp rounds to the same value, if many do.
    close: Option<f64>,
    /// The largest -log p of each class among the draw, or |logsumexp| if it is larger, `[k]`.
    minus_log: Vec<f64>,
    /// The mean logit of each class among the draw, `[k]`.
    mean_logits: Vec<f64>,
    /// The mean logsumexp.
    mean_lse: f64,
    /// The largest mean of exp(z - max z) over the classes of a sample, or share of equal logits.
    evenness: f64,
}

/// The values that samples have in common if log p rounds to the same one in many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close<'a> {
    /// The largest -log p of each class, or |logsumexp| if it is larger, `[k]`.
    pub(crate) minus_log: &'a [f64],
    /// The mean logit of each class, `[k]`.
    pub(crate) mean_logits: &'a [f64],
    /// The mean logsumexp.
    pub(crate) mean_lse: f64,
}

/// Share of the pairs of samples that round to the same value, above which samples are close. With
/// log p spread over eight values or more, rounding errors average out.
const CLOSE: f64 = 1.0 / 8.0;
/// Mean of exp(z - max z) above which terms round to the same side in the sum of a softmax: most
/// then lie between the same powers of two. Also the share of equal logits above which they do,
/// even if other terms are larger. Chosen.
const EVEN: f64 = 0.5;
/// Largest distance from the median at which logits count as equal. The sum of 50,000 terms in f32
/// is rounded to 6e-3 of a term.
const EQUAL: f64 = 1e-2;
/// Samples whose logits are computed side by side.
const SIDE_BY_SIDE: usize = 2;

impl Draw {
    /// Computes the softmax of a draw of the samples.
    pub(super) fn of(problem: &Problem) -> Self {
        let (n, k) = (problem.n(), problem.k());
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let draw = rand::seq::index::sample(&mut random, n, budget::compared_samples(problem));
        let mut draw = draw.into_vec();
        draw.sort_unstable();
        draw.retain(|&row| problem.target_rows::<f64>(row..row + 1).totals[0] != 0.0);
        let (weight, bias): (Vec<f64>, Vec<f64>) = (problem.weight_values(), problem.bias());
        let mut drawn = Self {
            n: problem.whole().map_or(n, |whole| whole.rows),
            sums: Vec::new(),
            lse: Vec::new(),
            minus_log: vec![0.0; k],
            logits: vec![0.0; k],
            equal_logits: 0.0,
        };
        let logits_of = |rows: &[usize]| {
            let samples = rows.iter().map(|&row| problem.samples().rows(row..row + 1));
            let samples = samples.collect::<Vec<Vec<f64>>>().concat();
            if problem.is_of_logits() {
                samples
            } else {
                logits(&samples, &weight, &bias, problem.d()).logits
            }
        };
        // As many samples at a time as there are threads for, because classes may be many.
        for draw in draw.chunks(SIDE_BY_SIDE * rayon::current_num_threads()) {
            let all: Vec<Vec<f64>> = draw.par_chunks(SIDE_BY_SIDE).map(logits_of).collect();
            let samples = all.iter().flat_map(|z| z.chunks_exact(k));
            samples.for_each(|z| drawn.add(z));
        }
        drawn
    }

    /// Adds a sample with logits z.
    fn add(&mut self, z: &[f64]) {
        let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
        let log = sum.ln();
        let lse = largest + log;
        for (bound, z) in self.minus_log.iter_mut().zip(z) {
            *bound = bound.max(log + (largest - z)).max(lse.abs());
        }
        self.equal_logits = self.equal_logits.max(equal_logits(z));
        self.logits.iter_mut().zip(z).for_each(|(sum, z)| *sum += z);
        self.sums.push(sum);
        self.lse.push(lse);
    }

    /// Compares the samples for a gradient of type `dtype`.
    pub(super) fn likeness(&self, dtype: Dtype) -> Likeness {
        let pairs = self.sums.len() * self.sums.len().saturating_sub(1) / 2;
        let share = |values: &[f64], rounded: &dyn Fn(f64) -> f64| {
            let keys = values.iter().map(|value| rounded(*value).to_bits());
            equal_pairs(keys.collect()) as f64 / pairs.max(1) as f64
        };
        let multiplicity = |share| 1.0 + (self.n - 1) as f64 * share;
        let close = share(&self.sums, &|sum| dtype.round(sum.ln()));
        let close = close.max(share(&self.lse, &|lse| dtype.round(lse)));
        let drawn = self.sums.len().max(1) as f64;
        Likeness {
            multiplicity: multiplicity(share(&self.sums, &|sum| sum)),
            close: (close > CLOSE).then(|| multiplicity(close)),
            minus_log: self.minus_log.clone(),
            mean_logits: self.logits.iter().map(|sum| sum / drawn).collect(),
            mean_lse: self.lse.iter().sum::<f64>() / drawn,
            evenness: self
                .equal_logits
                .max(self.sums.iter().fold(0.0f64, |a, b| a.max(*b)) / self.logits.len() as f64),
        }
    }
}

impl Likeness {
    /// Returns the values that samples have in common, if log p rounds to the same one in many, in
    /// the gradient's type.
    pub(crate) fn close(&self) -> Option<Close<'_>> {
        self.close.map(|_| Close {
            minus_log: &self.minus_log,
            mean_logits: &self.mean_logits,
            mean_lse: self.mean_lse,
        })
    }

    /// Returns the likeness of samples of which these are a part.
    #[cfg(feature = "files")]
    pub(super) fn with_multiplicity(self, multiplicity: f64) -> Self {
        Self {
            multiplicity,
            ..self
        }
    }

    /// Returns true if a softmax is nearly uniform.
    pub(crate) fn is_even(&self) -> bool {
        self.evenness > EVEN
    }

    /// Returns the multiplicity of samples that are equal or close. The additions of their terms
    /// round to the same side.
    pub(crate) fn of_sums(&self) -> f64 {
        self.close.unwrap_or(self.multiplicity)
    }
}

/// Returns the share of the logits that equal their median.
fn equal_logits(z: &[f64]) -> f64 {
    let mut z = z.to_vec();
    let middle = z.len() / 2;
    let (_, &mut median, _) = z.select_nth_unstable_by(middle, f64::total_cmp);
    let equal = z.iter().filter(|z| (*z - median).abs() <= EQUAL).count();
    equal as f64 / z.len() as f64
}

/// Returns the number of pairs of equal keys.
fn equal_pairs(mut keys: Vec<u64>) -> usize {
    keys.sort_unstable();
    let groups = keys.chunk_by(|a, b| a == b);
    groups
        .map(|group| group.len() * (group.len() - 1) / 2)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{loss::CrossEntropy, tensor::Tensor};

    fn of(input: &[f64], target: &[i64], dtype: Dtype) -> Likeness {
        let n = target.len();
        let problem = Problem::new(
            Tensor::from_f64(&[n, 1], input),
            Tensor::from_f64(&[2, 1], &[1.0, -1.0]),
            None,
            &Tensor::from_classes(target),
            CrossEntropy::default(),
        );
        Draw::of(&problem.unwrap()).likeness(dtype)
    }

    #[test]
    fn equal_samples_are_counted() {
        let n = 400;
        let distinct: Vec<f64> = (0..n).map(|j| j as f64 / 100.0).collect();
        let classes = vec![0; n];
        let likeness = of(&distinct, &classes, Dtype::F32);
        assert_eq!(
            (likeness.multiplicity, likeness.close.is_some()),
            (1.0, false)
        );
        let equal = of(&vec![0.5; n], &classes, Dtype::F32);
        assert_eq!(
            (equal.multiplicity, equal.close.is_some()),
            (n as f64, true)
        );
        // Ignored samples add nothing to the gradient.
        let ignored: Vec<i64> = (0..n as i64)
            .map(|j| if j < 20 { 1 } else { -100 })
            .collect();
        assert_eq!(of(&distinct, &ignored, Dtype::F32).multiplicity, 1.0);
    }

    #[test]
    fn samples_are_close_in_a_type_with_few_digits() {
        let near: Vec<f64> = (0..100).map(|j| 0.5 + j as f64 * 1e-5).collect();
        let classes = vec![0; 100];
        assert!(of(&near, &classes, Dtype::BF16).close.is_some());
        assert!(of(&near, &classes, Dtype::F32).close.is_none());
    }
}
