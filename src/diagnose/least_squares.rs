//! Least squares over the entries of a pair.

use super::pair::{Live, Pair};
use crate::loss::compensated_sum;

/// Least number of entries: with fewer, two factors fit anything. Chosen.
const LEAST_ENTRIES: usize = 6;
/// Steps of Gauss and Newton. Chosen.
const STEPS: usize = 12;
/// Relative determinant below which two gradients point the same way. Chosen.
const LEAST_DETERMINANT: f64 = 1e-10;
/// Relative step at which a refined parameter has converged in f64. Chosen.
const CONVERGED: f64 = 1e-14;
/// Norm, relative to the largest, below which a column counts as spanned by those before it.
/// Chosen.
const RANK: f64 = 1e-11;
/// Squared norm of the residual's gradient, relative to the first, below which it counts as 0.
/// Chosen.
const LEAST_GRADIENT: f64 = 1e-28;

/// Least-squares fit a = alpha·g + beta·h, with any g and h.
pub(super) struct Regression {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// Share of the errors left by alpha·g alone that h explains, 0 to 1.
    pub(super) share: f64,
}

/// Fits a as a combination of g and h. Returns `None` if g and h point the same way or there are
/// too few entries.
pub(super) fn regress(pair: &Pair, g: &[f64], h: &[f64]) -> Option<Regression> {
    if pair.live().count() < LEAST_ENTRIES {
        return None;
    }
    // Compensated, because in f64 the error of an entry may be smaller than the rounding of plain
    // sums.
    let sum = |product: fn(f64, f64, f64) -> f64| {
        let terms = pair.live();
        compensated_sum(terms.map(|it| product(it.a, g[it.entry], h[it.entry])))
    };
    let (gg, gh, hh) = (
        sum(|_, g, _| g * g),
        sum(|_, g, h| g * h),
        sum(|_, _, h| h * h),
    );
    let (ag, ah) = (sum(|a, g, _| a * g), sum(|a, _, h| a * h));
    let determinant = gg * hh - gh * gh;
    if !(determinant > LEAST_DETERMINANT * gg * hh) {
        return None;
    }
    let (alpha, beta) = (
        (ag * hh - ah * gh) / determinant,
        (ah * gg - ag * gh) / determinant,
    );
    let (mut left, mut alone) = (0.0, 0.0);
    for Live { entry, a, .. } in pair.live() {
        left += (a - alpha * g[entry] - beta * h[entry]).powi(2);
        alone += (a - ag / gg * g[entry]).powi(2);
    }
    Some(Regression {
        alpha,
        beta,
        share: 1.0 - left / alone,
    })
}

/// Returns the parameter at which `predict` is nearest to a up to one factor, by Gauss-Newton steps
/// from a near start. `step` is the step of the finite difference.
pub(super) fn refine(
    pair: &Pair,
    start: f64,
    step: f64,
    mut predict: impl FnMut(f64) -> Vec<f64>,
) -> Option<f64> {
    let mut parameter = start;
    for _ in 0..STEPS {
        let here = predict(parameter);
        let there = predict(parameter + step);
        let slope: Vec<f64> = there
            .iter()
            .zip(&here)
            .map(|(t, h)| (t - h) / step)
            .collect();
        let Regression { alpha, beta, .. } = regress(pair, &here, &slope)?;
        let by = beta / alpha;
        if !by.is_finite() {
            return None;
        }
        parameter += by;
        if by.abs() <= CONVERGED * parameter.abs() {
            break;
        }
    }
    Some(parameter)
}

/// Returns the least-squares solution x of sum_c `columns[c]`·x\[c\] = a - g over the live entries.
/// If there are several solutions, returns the smallest.
pub(super) fn solve(pair: &Pair, columns: &[Vec<f64>], g: &[f64]) -> Vec<f64> {
    let k = columns.len();
    let live: Vec<usize> = pair.live().map(|it| it.entry).collect();
    let matrix = live
        .iter()
        .flat_map(|&entry| columns.iter().map(move |column| column[entry]))
        .collect();
    let error: Vec<f64> = live.iter().map(|&entry| pair.a[entry] - g[entry]).collect();
    // In the basis of the columns the system is k by k, and a few conjugate gradient steps solve
    // it.
    let basis = orthonormal(matrix, k);
    let rows: Vec<Vec<f64>> = basis
        .iter()
        .map(|q| {
            let along = |column: &Vec<f64>| {
                live.iter()
                    .zip(q)
                    .map(|(&entry, q)| column[entry] * q)
                    .sum()
            };
            columns.iter().map(along).collect()
        })
        .collect();
    let right: Vec<f64> = basis.iter().map(|q| dot(q, &error)).collect();
    conjugate_gradients(&rows, &right, k)
}

/// Returns the least-squares solution of `rows`·x = `right`, from x = 0.
fn conjugate_gradients(rows: &[Vec<f64>], right: &[f64], k: usize) -> Vec<f64> {
    let times = |x: &[f64]| -> Vec<f64> { rows.iter().map(|row| dot(row, x)).collect() };
    let transposed = |y: &[f64]| -> Vec<f64> {
        (0..k)
            .map(|c| rows.iter().zip(y).map(|(row, y)| row[c] * y).sum())
            .collect()
    };
    let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
    let mut x = vec![0.0; k];
    let mut rest = right.to_vec();
    let mut gradient = transposed(&rest);
    let mut direction = gradient.clone();
    let first = square(&gradient);
    for _ in 0..2 * k {
        let length = square(&gradient);
        if !(length > LEAST_GRADIENT * first) {
            break;
        }
        let image = times(&direction);
        let step = length / square(&image);
        x.iter_mut()
            .zip(&direction)
            .for_each(|(x, d)| *x += step * d);
        rest.iter_mut()
            .zip(&image)
            .for_each(|(r, m)| *r -= step * m);
        gradient = transposed(&rest);
        let turn = square(&gradient) / length;
        direction
            .iter_mut()
            .zip(&gradient)
            .for_each(|(d, g)| *d = g + turn * *d);
    }
    x
}

/// Returns an orthonormal basis of the columns of a matrix [rows, k], by Gram-Schmidt with the
/// largest column first. Each column is made orthogonal twice, which is enough (Kahan).
pub(super) fn orthonormal(matrix: Vec<f64>, k: usize) -> Vec<Vec<f64>> {
    let mut columns: Vec<Vec<f64>> = (0..k)
        .map(|c| matrix.iter().skip(c).step_by(k).copied().collect())
        .collect();
    let norms = |columns: &[Vec<f64>]| -> Vec<f64> { columns.iter().map(|v| norm(v)).collect() };
    let whole = norms(&columns).into_iter().fold(0.0, f64::max);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while let Some((pivot, largest)) = norms(&columns)
        .into_iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
    {
        if !(largest > RANK * whole) {
            break;
        }
        let mut next = columns.swap_remove(pivot);
        basis.iter().for_each(|q| remove(q, &mut next));
        let length = norm(&next);
        next.iter_mut().for_each(|v| *v /= length);
        columns.iter_mut().for_each(|column| remove(&next, column));
        basis.push(next);
    }
    basis
}

/// Subtracts the part of `vector` along the unit vector `q`.
fn remove(q: &[f64], vector: &mut [f64]) {
    let along = dot(q, vector);
    vector.iter_mut().zip(q).for_each(|(v, q)| *v -= along * q);
}

fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjugate_gradients_solve_a_small_system() {
        let rows = [
            vec![2.0, 1.0, 0.0],
            vec![0.0, 3.0, -1.0],
            vec![1.0, 0.0, 1.0],
        ];
        let x = conjugate_gradients(&rows, &[4.0, 3.0, 4.0], 3);
        for (x, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-10, "{x}");
        }
    }

    #[test]
    fn a_basis_leaves_out_a_dependent_column() {
        // The third column is minus the sum of the others.
        let rows = [[1.0, 2.0], [3.0, -1.0], [0.5, 4.0], [1e-6, 7.0]];
        let matrix = rows.iter().flat_map(|[a, b]| [*a, *b, -a - b]).collect();
        let basis = orthonormal(matrix, 3);
        assert_eq!(basis.len(), 2);
        let products = [dot(&basis[0], &basis[0]) - 1.0, dot(&basis[0], &basis[1])];
        assert!(products.iter().all(|product| product.abs() < 1e-15));
    }
}
