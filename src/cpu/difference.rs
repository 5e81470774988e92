//! Loss differences (l(z + δ) - l(z)) / step, δ = step·dz/dx, by an identity that cannot cancel:
//!
//! ```text
//! logsumexp(z + δ) - logsumexp(z) - δ[y]
//!     = log sum_c p[c] exp(δ[c] - δ[y])
//!     = log1p( sum_c (p - onehot(y))[c] expm1(δ[c]) / exp(δ[y]) )
//! ```
//!
//! with p the softmax of z and y any class.
//!
//! 1. The last line holds because the p sum to 1: log u = log1p(u - 1), and the 1 cancels in
//!    closed form.
//! 2. The rest of the loss, `R δ[y] - sum_c r[c] δ[c]`, is linear in the step.
//! 3. No two large numbers are subtracted. With y the label, every term is as small as the
//!    difference itself, even in a saturated sample, where p\[y\] is close to 1.
//! 4. If no class has more than half of the target, there is no y: onehot(y) and δ\[y\] are 0.
//! 5. The code uses the growth expm1(δ)/step in place of expm1(δ). Neither the terms nor the result
//!    then shrink with the step, and none of them underflows before the gradient does.

use rayon::prelude::*;

use crate::{
    cpu::{
        lanes::{larger, simd_by_width},
        matmul::{Packed, TILE, tile},
        series::{ANY, divided_by_growth, four_terms, log1p_per_step, two_terms},
    },
    loss::{NO_LABEL, TargetRows},
    tensor::Real,
};

/// Fewest entries of a table per task. Chosen to amortize the start of a task.
const ENTRIES_PER_TASK: usize = 1 << 14;

/// Returns the growth expm1(step·slope) / step for each of the `slopes` dz/dx.
///
/// It is the growth of a logit's exponential for a step in x. It is computed in f64, so that every
/// engine starts from a correctly rounded table.
pub fn growth<T: Real>(slopes: &[f64], step: f64) -> Vec<T> {
    slopes
        .par_iter()
        .with_min_len(ENTRIES_PER_TASK)
        .map(|&slope| grow(slope, step))
        .collect()
}

fn grow<T: Real>(slope: f64, step: f64) -> T {
    T::of((step * slope).exp_m1() / step)
}

/// The steps of a scheme, and a table [k, d] of the [`growth`] of every logit for each step.
pub struct Growths<T> {
    steps: Vec<Step<T>>,
    tables: Tables<T>,
    /// Number of terms with which the [series](super::series) is exact for every sample: 2, 4 or
    /// [`ANY`].
    terms: usize,
}

#[derive(Clone, Copy)]
struct Step<T> {
    size: T,
    /// Weight of the difference quotient in the derivative.
    weight: T,
}

enum Tables<T> {
    One(Packed<T, 1>),
    Two(Packed<T, 2>),
    Four(Packed<T, 4>),
}

impl<T: Real> Growths<T> {
    /// Computes the tables from the slopes dz/dx [k, d] and the steps of a scheme, each with the
    /// weight of its quotient in the derivative.
    pub fn new(slopes: &[f64], d: usize, steps: &[(f64, f64)]) -> Self {
        match *steps {
            [one] => Self::of(Tables::One(grown(slopes, d, [one])), steps),
            [one, two] => Self::of(Tables::Two(grown(slopes, d, [one, two])), steps),
            [one, two, three, four] => {
                let tables = grown(slopes, d, [one, two, three, four]);
                Self::of(Tables::Four(tables), steps)
            }
            _ => unreachable!("no scheme has {} steps", steps.len()),
        }
    }

    /// Takes a given table [k, d] for one step.
    pub fn of_table(table: &[T], d: usize, step: (f64, f64)) -> Self {
        Self::of(Tables::One(Packed::new([table], d)), &[step])
    }

    fn of(tables: Tables<T>, steps: &[(f64, f64)]) -> Self {
        let steps = steps.iter().map(|&(step, weight)| Step {
            size: T::of(step),
            weight: T::of(weight),
        });
        let steps: Vec<Step<T>> = steps.collect();
        let largest = match &tables {
            Tables::One(table) => largest_move(table, &steps),
            Tables::Two(tables) => largest_move(tables, &steps),
            Tables::Four(tables) => largest_move(tables, &steps),
        };
        // The |p - onehot| of a sample sum to at most 2, so the argument of log1p is at most twice
        // the largest move, over 1 + step·growth. The extra 0.001 of each factor allows for that
        // division, and for the automatic step, which lies exactly on the limit of two terms.
        let terms = match T::of(2.001) * largest {
            x if x <= T::of(1.001) * two_terms() => 2,
            x if x <= four_terms() => 4,
            _ => ANY,
        };
        Self {
            steps,
            tables,
            terms,
        }
    }
}

/// Computes the [`growth`] of every logit for S steps.
fn grown<T: Real, const S: usize>(
    slopes: &[f64],
    d: usize,
    steps: [(f64, f64); S],
) -> Packed<T, S> {
    Packed::of_tiles(slopes.len() / d, d, |c, column| {
        let slopes: [f64; TILE] = tile(&slopes[c * d..][..d], column);
        steps.map(|(step, _)| slopes.map(|slope| grow(slope, step)))
    })
}

/// Returns the largest |step·growth|.
fn largest_move<T: Real, const S: usize>(tables: &Packed<T, S>, steps: &[Step<T>]) -> T {
    let larger = |largest, value| larger(value, largest);
    let of_tiles = |tiles: &[[T; TILE]; S]| {
        let of_step = |(tile, step): (&[T; TILE], &Step<T>)| {
            let moves = tile.iter().map(|growth| (step.size * *growth).abs());
            moves.fold(T::zero(), larger)
        };
        tiles.iter().zip(steps).map(of_step).fold(T::zero(), larger)
    };
    let tiles = tables
        .tiles()
        .par_iter()
        .with_min_len(ENTRIES_PER_TASK / TILE);
    tiles.map(of_tiles).reduce(T::zero, larger)
}

/// Computes the derivative with respect to the input, [rows, d], by all steps of a scheme.
///
/// `residual` is p - onehot(label), [rows, k]. `linear` is the product of the targets' linear part
/// with dz/dx, [rows, d], if they have one.
///
/// 1. The sums over the classes are a [matrix product](super::matmul) of the residual and the
///    tables. All steps run side by side, because they share the residual.
/// 2. `finish` divides the sums of a tile by the growth of the label, takes the logarithm and
///    weights the quotients, in vector instructions. The module `series` bounds its error.
/// 3. The scheme is exact for a line, so the linear part is added at the end, whatever the step.
pub fn difference<T: Real>(
    derivative: &mut Vec<T>,
    residual: &[T],
    growths: &Growths<T>,
    targets: &TargetRows<T>,
    linear: Option<&[T]>,
) {
    let inputs = QuotientInputs {
        residual,
        steps: &growths.steps,
        targets,
        linear,
    };
    let terms = growths.terms;
    // W or N rows by S steps: the sums that fit in 32 or 16 vector registers.
    match &growths.tables {
        Tables::One(table) => by_series::<T, 4, 2, 1>(derivative, table, terms, inputs),
        Tables::Two(tables) => by_series::<T, 4, 1, 2>(derivative, tables, terms, inputs),
        Tables::Four(tables) => by_series::<T, 2, 1, 4>(derivative, tables, terms, inputs),
    }
}

/// The operands of the quotients of one call, apart from the tables.
#[derive(Clone, Copy)]
struct QuotientInputs<'a, T> {
    residual: &'a [T],
    steps: &'a [Step<T>],
    targets: &'a TargetRows<T>,
    linear: Option<&'a [T]>,
}

/// Dispatches to the loops for a number of terms.
fn by_series<T: Real, const W: usize, const N: usize, const S: usize>(
    derivative: &mut Vec<T>,
    tables: &Packed<T, S>,
    terms: usize,
    inputs: QuotientInputs<'_, T>,
) {
    match terms {
        2 => quotients::<T, W, N, S, 2>(derivative, tables, inputs),
        4 => quotients::<T, W, N, S, 4>(derivative, tables, inputs),
        _ => quotients::<T, W, N, S, ANY>(derivative, tables, inputs),
    }
}

/// Computes the derivative by S steps and series of `TERMS` terms, in tiles of W rows if the vector
/// registers are wide, and of N rows otherwise.
fn quotients<T: Real, const W: usize, const N: usize, const S: usize, const TERMS: usize>(
    derivative: &mut Vec<T>,
    tables: &Packed<T, S>,
    inputs: QuotientInputs<'_, T>,
) {
    simd_by_width(
        derivative,
        #[inline(always)]
        |derivative| inputs.quotients::<W, S, TERMS>(derivative, tables),
        #[inline(always)]
        |derivative| inputs.quotients::<N, S, TERMS>(derivative, tables),
    );
}

impl<T: Real> QuotientInputs<'_, T> {
    /// Computes the derivative in tiles of R rows. Must be called inside of [`simd_by_width`].
    #[inline(always)]
    fn quotients<const R: usize, const S: usize, const TERMS: usize>(
        self,
        derivative: &mut Vec<T>,
        tables: &Packed<T, S>,
    ) {
        let Self {
            residual,
            steps,
            targets,
            linear,
        } = self;
        let rows = targets.labels.len();
        tables.multiply::<R, false>(
            derivative,
            residual,
            #[inline(always)]
            |row, column, sums, growths| {
                let (label, total) = (targets.labels[row], targets.totals[row]);
                let mut derivative = [T::zero(); TILE];
                for (s, step) in (0..S).zip(steps) {
                    let mut quotients = sums[s];
                    if label != NO_LABEL {
                        let growth = growths[label as usize][s];
                        quotients =
                            divided_by_growth::<T, TERMS, TILE>(quotients, growth, step.size);
                    }
                    let logarithms = log1p_per_step::<T, TERMS, TILE>(quotients, step.size);
                    for lane in 0..TILE {
                        derivative[lane] = step.weight.mul_add(logarithms[lane], derivative[lane]);
                    }
                }
                derivative.iter_mut().for_each(|v| *v = *v * total);
                if let Some(linear) = linear {
                    let linear = tile(&linear[row * (linear.len() / rows)..], column);
                    for (derivative, linear) in derivative.iter_mut().zip(linear) {
                        *derivative += linear;
                    }
                }
                derivative
            },
        );
    }
}

/// Computes the derivative with respect to the logits, [rows, k], from `residual` [rows, k] and the
/// steps of a scheme, each with the weight of its quotient.
///
/// A step moves only one logit, so the sum over the classes has one term, and all logits share the
/// growth expm1(step)/step. Each residual yields one entry, so a plain loop is fast enough.
pub fn difference_logits<T: Real>(
    residual: &[T],
    steps: &[(f64, f64)],
    targets: &TargetRows<T>,
    k: usize,
) -> Vec<T> {
    let steps = steps.iter().map(|&(step, weight)| {
        let growth = step.exp_m1() / step;
        (T::of(step), T::of(weight), T::of(growth))
    });
    let steps: Vec<(T, T, T)> = steps.collect();
    let mut derivative = residual.to_vec();
    for (row, values) in derivative.chunks_exact_mut(k).enumerate() {
        let (label, total) = (targets.labels[row] as usize, targets.totals[row]);
        let linear = targets.linear.as_ref().map(|linear| &linear[row * k..]);
        for (c, value) in values.iter_mut().enumerate() {
            let mut sum = T::zero();
            for &(step, weight, growth) in &steps {
                let at_label = if c == label {
                    T::one() + step * growth
                } else {
                    T::one()
                };
                let quotient = [*value * growth / at_label];
                let [logarithm] = log1p_per_step::<T, ANY, 1>(quotient, step);
                sum += weight * logarithm;
            }
            *value = sum * total + linear.map_or(T::zero(), |linear| linear[c]);
        }
    }
    derivative
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

    /// Compares both kernels with the subtraction of two losses, for a target r that is split at
    /// `label`.
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
        let targets = TargetRows {
            labels: vec![label],
            totals: vec![total],
            linear: Some(linear),
        };
        let sum: f64 = Z.iter().map(|z| z.exp()).sum();
        let residual: Vec<f64> = (0..3).map(|c| Z[c].exp() / sum - at(c)).collect();
        for step in [0.5f64, -0.01] {
            let growths = Growths::new(&WEIGHT, 2, &[(step, 1.0)]);
            let mut differences = Vec::new();
            difference(
                &mut differences,
                &residual,
                &growths,
                &targets,
                Some(&by_input),
            );
            for i in 0..2 {
                let moved: Vec<f64> = (0..3).map(|c| Z[c] + step * WEIGHT[c * 2 + i]).collect();
                let expected = loss(&moved, &r) - loss(&Z, &r);
                assert!(
                    (step * differences[i] - expected).abs() < 2e-15,
                    "{r:?} {step} {i}"
                );
            }
            let differences = difference_logits(&residual, &[(step, 1.0)], &targets, 3);
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
}
