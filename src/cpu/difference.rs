//! The loss difference (l(z + δ) - l(z)) / step, δ = step·dz/dx, by an identity that cannot cancel.
//!
//! With p the softmax and y any class,
//!
//! ```text
//! logsumexp(z+δ) - logsumexp(z) - δ[y] = log sum_c p[c] exp(δ[c] - δ[y]) = log1p( sum_c (p - onehot(y))[c] expm1(δ[c]) / exp(δ[y]) )
//! ```
//!
//! because the p sum to 1; the rest of the loss, `R δ[y] - sum_c r[c] δ[c]`, is linear in the step. Nothing that is large is
//! subtracted: with y the target every term is of the size of the difference itself, in a saturated sample too. Where no
//! class stands out in the target, y is no class, and its terms are 0. The growth expm1(δ)/step stands in for expm1(δ), so
//! that neither the terms nor the result shrink with the step, and none of them underflows before the gradient itself does.

use rayon::prelude::*;

use crate::{
    cpu::{
        matmul::{multiply, tile},
        simd,
    },
    loss::{NO_LABEL, Samples},
    tensor::Real,
};

/// Entries of a table that are worth a thread.
const ENTRIES: usize = 1 << 14;

/// expm1(step·slope) / step, [k, d]: how much the exponential of a logit grows for a step in x, where
/// `slopes` are dz/dx. Computed in f64: every engine starts from a correctly rounded table.
pub fn growth<T: Real>(slopes: &[f64], step: f64) -> Vec<T> {
    slopes
        .par_iter()
        .with_min_len(ENTRIES)
        .map(|slope| T::of((step * slope).exp_m1() / step))
        .collect()
}

/// The [`growth`] of every logit for one step.
pub struct Growth<T> {
    step: T,
    /// [k, d].
    table: Vec<T>,
    /// Whether it is so small everywhere that what it is multiplied by is small, whatever the sample.
    is_small: bool,
}

impl<T: Real> Growth<T> {
    /// Of a table [k, d].
    pub fn new(table: Vec<T>, step: T) -> Self {
        // |p - onehot| sums to at most 2, and is then divided by 1 + step·growth.
        let is_small = |v: &T| (step * *v).abs() < T::of(SMALL / 4.0);
        Self {
            step,
            is_small: table.iter().all(is_small),
            table,
        }
    }
}

/// Differences with respect to the input: takes `residual` (p - onehot(label)) [rows, k] and, where
/// the samples have a linear part, its product with dz/dx [rows, d]; returns [rows, d].
pub fn difference<T: Real>(
    residual: &[T],
    growth: &Growth<T>,
    samples: &Samples<T>,
    linear: Option<&[T]>,
    d: usize,
) -> Vec<T> {
    let mut differences = vec![T::zero(); samples.labels.len() * d];
    // Two loops: what the rare one calls must not keep the values of the other from the registers.
    match growth.is_small {
        true => differences_in::<T, true>(&mut differences, residual, growth, samples, linear, d),
        false => differences_in::<T, false>(&mut differences, residual, growth, samples, linear, d),
    }
    differences
}

fn differences_in<T: Real, const IS_SMALL: bool>(
    differences: &mut [T],
    residual: &[T],
    growth: &Growth<T>,
    samples: &Samples<T>,
    linear: Option<&[T]>,
    d: usize,
) {
    let (step, table) = (growth.step, &growth.table);
    simd(
        #[inline(always)]
        || {
            multiply(
                differences,
                residual,
                table,
                d,
                #[inline(always)]
                |row, column, sums| {
                    let (label, total) = (samples.labels[row], samples.totals[row]);
                    let mut differences = match label {
                        NO_LABEL => sums,
                        label => {
                            let growth = &table[label as usize * d..][..d];
                            divided_by_growth(sums, tile(growth, column), step, IS_SMALL)
                        }
                    };
                    differences = log1p_per_step(differences, step, IS_SMALL);
                    differences.iter_mut().for_each(|v| *v = *v * total);
                    if let Some(linear) = linear {
                        let linear = tile(&linear[row * d..][..d], column);
                        for (difference, linear) in differences.iter_mut().zip(linear) {
                            *difference += linear;
                        }
                    }
                    differences
                },
            );
        },
    );
}

/// Differences with respect to the logits, of which a step moves only one: takes `residual` [rows, k] and the
/// logits' own `growth`; returns [rows, k].
pub fn difference_logits<T: Real>(
    residual: &[T],
    growth: T,
    step: T,
    samples: &Samples<T>,
    k: usize,
) -> Vec<T> {
    let mut differences = residual.to_vec();
    for (row, sums) in differences.chunks_exact_mut(k).enumerate() {
        let (label, total) = (samples.labels[row] as usize, samples.totals[row]);
        let linear = samples.linear.as_ref().map(|linear| &linear[row * k..]);
        for (c, sum) in sums.iter_mut().enumerate() {
            let at_label = match c == label {
                true => T::one() + step * growth,
                false => T::one(),
            };
            let [logarithm] = log1p_per_step([*sum * growth / at_label], step, false);
            *sum = logarithm * total + linear.map_or(T::zero(), |linear| linear[c]);
        }
    }
    differences
}

/// Below it four terms of the series of 1/(1 + x) and log1p are exact to f64, as the fifth is at most 2^-56 of the first; and they
/// run in vectors, without a division.
const SMALL: f64 = 1.0 / 16384.0;

/// Whether step·v is small for every value v: a count runs in vectors, a search that ends early does not.
#[inline(always)]
fn are_small<T: Real, const N: usize>(values: &[T; N], step: T) -> bool {
    let is_large = |v: &T| u32::from(!((step * *v).abs() < T::of(SMALL)));
    values.iter().map(is_large).sum::<u32>() == 0
}

/// Values over 1 + step·growth; `is_small` where that is known to be small for all.
#[inline(always)]
fn divided_by_growth<T: Real, const N: usize>(
    mut values: [T; N],
    growth: [T; N],
    step: T,
    is_small: bool,
) -> [T; N] {
    if is_small || are_small(&growth, step) {
        for (v, growth) in values.iter_mut().zip(growth) {
            let x = step * growth;
            *v = *v - *v * (x * (T::one() - x * (T::one() - x)));
        }
    } else {
        for (v, growth) in values.iter_mut().zip(growth) {
            *v = *v / (T::one() + step * growth);
        }
    }
    values
}

/// log1p(step·v) / step of every value v; `is_small` where step·v is known to be small for all.
#[inline(always)]
pub(crate) fn log1p_per_step<T: Real, const N: usize>(
    mut values: [T; N],
    step: T,
    is_small: bool,
) -> [T; N] {
    if !(is_small || are_small(&values, step)) {
        return logarithms(values, step);
    }
    let (half, third, quarter) = (T::of(0.5), T::of(1.0 / 3.0), T::of(0.25));
    // A loop: what the library has for arrays is not inlined into vector code.
    for v in &mut values {
        let x = step * *v;
        *v = *v - *v * x * (half - x * (third - x * quarter));
    }
    values
}

/// The same by the library's function, whose calls must not keep the series' values from the registers.
#[cold]
#[inline(never)]
fn logarithms<T: Real, const N: usize>(values: [T; N], step: T) -> [T; N] {
    values.map(|v| (step * v).ln_1p() / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f64; 3] = [0.3, -1.2, 2.0];
    const WEIGHT: [f64; 6] = [0.5, -0.25, 1.0, 0.0, 2.0, -1.5];

    fn loss(z: &[f64], r: &[f64]) -> f64 {
        let log = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        z.iter().zip(r).map(|(z, r)| r * (log - z)).sum()
    }

    /// Against the subtraction of two losses, for a target r that is given as the kernels take it.
    fn check(r: [f64; 3], label: u32) {
        let at = |c: usize| f64::from(u8::from(c == label as usize));
        let total: f64 = r.iter().sum();
        let linear: Vec<f64> = (0..3).map(|c| total * at(c) - r[c]).collect();
        let products = |i: usize| {
            linear
                .iter()
                .enumerate()
                .map(|(c, l)| l * WEIGHT[c * 2 + i])
                .sum::<f64>()
        };
        let by_input = [products(0), products(1)];
        let samples = Samples {
            labels: vec![label],
            totals: vec![total],
            linear: Some(linear),
        };
        let sum: f64 = Z.iter().map(|z| z.exp()).sum();
        let residual: Vec<f64> = (0..3).map(|c| Z[c].exp() / sum - at(c)).collect();
        for step in [0.5f64, -0.01] {
            let growth = Growth::new(growth(&WEIGHT, step), step);
            let differences = difference(&residual, &growth, &samples, Some(&by_input), 2);
            for i in 0..2 {
                let moved: Vec<f64> = (0..3).map(|c| Z[c] + step * WEIGHT[c * 2 + i]).collect();
                let expected = loss(&moved, &r) - loss(&Z, &r);
                assert!(
                    (step * differences[i] - expected).abs() < 2e-15,
                    "{r:?} {step} {i}"
                );
            }
            let differences = difference_logits(&residual, step.exp_m1() / step, step, &samples, 3);
            for c in 0..3 {
                let mut moved = Z;
                moved[c] += step;
                let expected = loss(&moved, &r) - loss(&Z, &r);
                assert!(
                    (step * differences[c] - expected).abs() < 2e-15,
                    "{r:?} {step} {c}"
                );
            }
        }
    }

    #[test]
    fn equals_the_subtraction_of_two_losses() {
        check([0.0, 1.0, 0.0], 1);
        check([0.1, 0.0, 2.5], 2);
        check([0.4, 0.3, 0.3], NO_LABEL);
        check([0.0, 0.0, 0.0], NO_LABEL);
    }

    #[test]
    fn the_series_equals_log1p() {
        let arguments: Vec<f64> = (-1000..=1000).map(|i| f64::from(i) * 6.1e-8).collect();
        for x in arguments {
            let [v] = log1p_per_step([x], 0.25, false);
            assert!(
                (0.25 * v - (0.25 * x).ln_1p()).abs() <= 2.0 * f64::EPSILON * x.abs(),
                "{x}"
            );
        }
    }
}
