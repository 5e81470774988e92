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
        has_wide_vectors,
        matmul::{Packed, TILE, tile},
        simd,
    },
    loss::{NO_LABEL, TargetRows},
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
        .map(|&slope| grow(slope, step))
        .collect()
}

fn grow<T: Real>(slope: f64, step: f64) -> T {
    T::of((step * slope).exp_m1() / step)
}

/// The steps of a scheme, with the [`growth`] of every logit for each.
pub struct Growths<T> {
    steps: Vec<Step<T>>,
    tables: Tables<T>,
    /// Terms of the series that are enough for every sample: see [`log1p_per_step`].
    terms: usize,
}

#[derive(Clone, Copy)]
struct Step<T> {
    size: T,
    /// What the difference quotient counts in the derivative.
    weight: T,
}

enum Tables<T> {
    One(Packed<T, 1>),
    Two(Packed<T, 2>),
    Four(Packed<T, 4>),
}

impl<T: Real> Growths<T> {
    /// Of slopes dz/dx [k, d] and the steps of a scheme, each with what its quotient counts in the derivative.
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

    /// Of a table [k, d] for one step.
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
        // |p - onehot| sums to at most 2, and is then divided by 1 + step·growth.
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

/// The [`growth`] of every logit for S steps.
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

/// The largest |step·growth|.
fn largest_move<T: Real, const S: usize>(tables: &Packed<T, S>, steps: &[Step<T>]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let of_tiles = |tiles: &[[T; TILE]; S]| {
        let of_step = |(tile, step): (&[T; TILE], &Step<T>)| {
            let moves = tile.iter().map(|growth| (step.size * *growth).abs());
            moves.fold(T::zero(), larger)
        };
        tiles.iter().zip(steps).map(of_step).fold(T::zero(), larger)
    };
    let tiles = tables.tiles().par_iter().with_min_len(ENTRIES / TILE);
    tiles.map(of_tiles).reduce(T::zero, larger)
}

/// The derivative with respect to the input, the scheme's steps together: takes `residual` (p - onehot(label)) [rows, k]
/// and, where the samples have a linear part, its product with dz/dx [rows, d]; overwrites `derivative` [rows, d].
pub fn difference<T: Real>(
    derivative: &mut Vec<T>,
    residual: &[T],
    growths: &Growths<T>,
    targets: &TargetRows<T>,
    linear: Option<&[T]>,
) {
    let operands = Operands {
        residual,
        steps: &growths.steps,
        targets,
        linear,
    };
    let terms = growths.terms;
    // As many rows at a time as the registers have room for.
    match (&growths.tables, has_wide_vectors()) {
        (Tables::One(table), true) => by_series::<T, 4, 1>(derivative, table, terms, operands),
        (Tables::One(table), false) => by_series::<T, 2, 1>(derivative, table, terms, operands),
        (Tables::Two(tables), true) => by_series::<T, 4, 2>(derivative, tables, terms, operands),
        (Tables::Two(tables), false) => by_series::<T, 1, 2>(derivative, tables, terms, operands),
        (Tables::Four(tables), true) => by_series::<T, 2, 4>(derivative, tables, terms, operands),
        (Tables::Four(tables), false) => by_series::<T, 1, 4>(derivative, tables, terms, operands),
    }
}

/// What the tables are multiplied and finished with.
#[derive(Clone, Copy)]
struct Operands<'a, T> {
    residual: &'a [T],
    steps: &'a [Step<T>],
    targets: &'a TargetRows<T>,
    linear: Option<&'a [T]>,
}

/// Loops of their own for each number of terms: what the rare ones call must not keep the values of the others from the registers.
fn by_series<T: Real, const R: usize, const S: usize>(
    derivative: &mut Vec<T>,
    tables: &Packed<T, S>,
    terms: usize,
    operands: Operands<'_, T>,
) {
    match terms {
        2 => quotients::<T, R, S, 2>(derivative, tables, operands),
        4 => quotients::<T, R, S, 4>(derivative, tables, operands),
        _ => quotients::<T, R, S, ANY>(derivative, tables, operands),
    }
}

/// In tiles of R rows, of S steps, by a series of so many terms.
fn quotients<T: Real, const R: usize, const S: usize, const TERMS: usize>(
    derivative: &mut Vec<T>,
    tables: &Packed<T, S>,
    operands: Operands<'_, T>,
) {
    let Operands {
        residual,
        steps,
        targets,
        linear,
    } = operands;
    let rows = targets.labels.len();
    simd(
        #[inline(always)]
        || {
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
                            derivative[lane] =
                                step.weight.mul_add(logarithms[lane], derivative[lane]);
                        }
                    }
                    derivative.iter_mut().for_each(|v| *v = *v * total);
                    // A scheme is exact for a line, whatever the step.
                    if let Some(linear) = linear {
                        let linear = tile(&linear[row * (linear.len() / rows)..], column);
                        for (derivative, linear) in derivative.iter_mut().zip(linear) {
                            *derivative += linear;
                        }
                    }
                    derivative
                },
            );
        },
    );
}

/// The derivative with respect to the logits, of which a step moves only one: takes `residual` [rows, k] and the steps of a scheme,
/// each with what its quotient counts in the derivative; returns [rows, k].
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

/// The largest step·v of which two terms of the series of 1/(1 + x) and log1p are exact: the third is at most a third of an epsilon.
fn two_terms<T: Real>() -> T {
    T::epsilon().sqrt()
}

/// The same of four terms, as the fifth is at most a sixteenth of an epsilon; and they run in vectors, without a division.
#[inline(always)]
fn four_terms<T: Real>() -> T {
    T::epsilon().sqrt().sqrt() * T::of(0.5)
}

/// As many terms as it takes, the library's functions where those are more than four.
pub(crate) const ANY: usize = 0;

/// Whether step·v is small enough for four terms, for every value v: a count runs in vectors, a search that ends early does not.
#[inline(always)]
fn are_small<T: Real, const N: usize>(values: &[T; N], step: T) -> bool {
    let is_large = |v: &T| u32::from(!((step * *v).abs() <= four_terms()));
    values.iter().map(is_large).sum::<u32>() == 0
}

/// Values over 1 + step·growth, by TERMS terms of the series.
#[inline(always)]
fn divided_by_growth<T: Real, const TERMS: usize, const N: usize>(
    mut values: [T; N],
    growth: [T; N],
    step: T,
) -> [T; N] {
    let one = T::one();
    if TERMS == 2 {
        for (v, growth) in values.iter_mut().zip(growth) {
            *v = *v - *v * (step * growth);
        }
    } else if TERMS == 4 || are_small(&growth, step) {
        for (v, growth) in values.iter_mut().zip(growth) {
            let x = step * growth;
            *v = *v - *v * (x * (one - x * (one - x)));
        }
    } else {
        for (v, growth) in values.iter_mut().zip(growth) {
            *v = *v / (one + step * growth);
        }
    }
    values
}

/// log1p(step·v) / step of every value v, by TERMS terms of the series.
#[inline(always)]
pub(crate) fn log1p_per_step<T: Real, const TERMS: usize, const N: usize>(
    mut values: [T; N],
    step: T,
) -> [T; N] {
    let (half, third, quarter) = (T::of(0.5), T::of(1.0 / 3.0), T::of(0.25));
    // Loops: what the library has for arrays is not inlined into vector code.
    if TERMS == 2 {
        for v in &mut values {
            *v = *v - *v * (half * step * *v);
        }
    } else if TERMS == 4 || are_small(&values, step) {
        for v in &mut values {
            let x = step * *v;
            *v = *v - *v * x * (half - x * (third - x * quarter));
        }
    } else {
        return logarithms(values, step);
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

    #[test]
    fn the_series_equals_log1p() {
        for i in -1000..=1000 {
            let check = |[v]: [f64; 1], x: f64| {
                let error = 0.25 * v - (0.25 * x).ln_1p();
                assert!(error.abs() <= f64::EPSILON * x.abs(), "{x} {error:e}");
            };
            let x = 4.0 * two_terms::<f64>() * f64::from(i) / 1000.0;
            check(log1p_per_step::<f64, 2, 1>([x], 0.25), x);
            let x = 4.0 * four_terms::<f64>() * f64::from(i) / 1000.0;
            check(log1p_per_step::<f64, 4, 1>([x], 0.25), x);
            check(log1p_per_step::<f64, ANY, 1>([x], 0.25), x);
        }
    }
}
