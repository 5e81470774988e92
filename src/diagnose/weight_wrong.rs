//! `weight-transposed-or-wrong`: the right logits' gradient, times another weight.

use super::{
    evidence::{Evidence, Layer, cross_entropy},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::report::Code;
use crate::{cpu::matmul::matmul, problem::Wrt};

/// Classes above which no weight is looked for: the time is quadratic in them.
pub(super) const MOST_CLASSES: usize = 256;
/// Rows that must agree with the weight that the others give.
const LEAST_ROWS_LEFT: usize = 3;
/// What is left of a column of G by those before it, below which it is one of them.
const RANK: f64 = 1e-11;

/// Whether a weight can be looked for.
pub(super) fn applies(evidence: &Evidence) -> bool {
    evidence.wrt == Wrt::Input && evidence.problem.k() <= MOST_CLASSES
}

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (k, d) = (evidence.problem.k(), pair.columns);
    // A weight in half precision is another weight, and no news.
    if !applies(evidence) || pair.storage > 0.0 {
        return None;
    }
    if let Some(transposed) = transposed(evidence, pair) {
        return Some(transposed);
    }
    // (R p - r)/Z; a row with entries that say nothing takes no part.
    let mut g = evidence.derivatives(&evidence.rows, &evidence.layer, &cross_entropy);
    let mut a = pair.a.clone();
    let mut rows = 0;
    for row in 0..pair.rows() {
        if pair.row(row).all(|e| pair.is_live(e)) {
            rows += usize::from(g[row * k..(row + 1) * k].iter().any(|g| *g != 0.0));
        } else {
            g[row * k..(row + 1) * k].fill(0.0);
            a[pair.row(row)].fill(0.0);
        }
    }
    let logits_gradient = g.clone();
    let basis = orthonormal(g, k);
    if rows < basis.len() + LEAST_ROWS_LEFT {
        return None;
    }
    // a = G·V for some V exactly if a lies in the span of G's columns.
    let mut fitted = vec![0.0; a.len()];
    for direction in &basis {
        let mut along = vec![0.0; d];
        for (q, a) in direction.iter().zip(a.chunks_exact(d)) {
            along.iter_mut().zip(a).for_each(|(sum, a)| *sum += q * a);
        }
        for (q, fitted) in direction.iter().zip(fitted.chunks_exact_mut(d)) {
            fitted
                .iter_mut()
                .zip(&along)
                .for_each(|(sum, along)| *sum += q * along);
        }
    }
    // Rounding goes with the magnitudes of the weight that was used, which are known to be about as large.
    let larger = pair.norm_ratio().max(1.0);
    let largest = |row: usize| {
        pair.allowed[pair.row(row)]
            .iter()
            .copied()
            .fold(0.0, f64::max)
    };
    let allowed = (0..pair.rows())
        .flat_map(|row| vec![larger * largest(row); d])
        .collect();
    let after = pair.against(fitted, allowed);
    if !after.is_explained() || !after.is_informative() {
        return None;
    }
    let name = evidence.name();
    let transposed = k == d && {
        let own = &evidence.layer.weight;
        let transpose: Vec<f64> = (0..k * d).map(|e| own[e % d * d + e / d]).collect();
        let g = matmul(&logits_gradient, &transpose, d);
        after.with(g).is_scaled()
    };
    let (message, fix) = if transposed {
        (
            format!(
                "{name} is the logits' gradient times the transpose of the weight: the product was taken the wrong way round"
            ),
            "multiply by the weight as it is, dlogits @ weight: nn.Linear keeps it as [out_features, in_features], flax's Dense as [in, out]",
        )
    } else {
        (
            format!("{name} is the logits' gradient times another weight than the file's"),
            "save the weight that the backward pass used: look for another layer's, another checkpoint's, or one that was changed in place between the forward and the backward pass",
        )
    };
    let cosine = pair.cosine();
    Some(
        Hypothesis::new(
            Code::WeightTransposedOrWrong,
            after,
            "compared with the weight that fits best",
            message,
            fix,
        )
        .confidence(0.9)
        .evidence("rank", basis.len() as f64)
        .evidence("cosine", cosine),
    )
}

/// The gradient of the layer with its square weight the other way round, forwards and backwards.
fn transposed(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let (k, d) = (evidence.problem.k(), evidence.problem.d());
    if k != d || k < 2 {
        return None;
    }
    let own = &evidence.layer.weight;
    let layer = Layer {
        weight: (0..k * d).map(|e| own[e % d * d + e / d]).collect(),
        bias: evidence.layer.bias.clone(),
    };
    let after = evidence.explains(pair, &layer, &cross_entropy)?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::WeightTransposedOrWrong,
        after,
        "compared with the transposed weight",
        format!(
            "{name} is the gradient of the layer with its weight transposed: the file has it the other way round"
        ),
        "save the weight as [classes, features], which nn.Linear has; flax's Dense has [features, classes]",
    ))
}

/// An orthonormal basis of the columns of a matrix [rows, k], largest column first, each made orthogonal twice (Gram and Schmidt; that twice
/// is enough is Kahan's).
pub(super) fn orthonormal(matrix: Vec<f64>, k: usize) -> Vec<Vec<f64>> {
    let mut columns: Vec<Vec<f64>> = (0..k)
        .map(|c| matrix.iter().skip(c).step_by(k).copied().collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = |column: &[f64]| dot(column, column).sqrt();
    let whole = columns
        .iter()
        .map(|column| norm(column))
        .fold(0.0, f64::max);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while let Some((pivot, largest)) = columns
        .iter()
        .map(|column| norm(column))
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
    {
        if !(largest > RANK * whole) {
            break;
        }
        let mut next = columns.swap_remove(pivot);
        for direction in &basis {
            let along = dot(direction, &next);
            next.iter_mut()
                .zip(direction)
                .for_each(|(v, q)| *v -= along * q);
        }
        let length = norm(&next);
        next.iter_mut().for_each(|v| *v /= length);
        for column in &mut columns {
            let along = dot(&next, column);
            column
                .iter_mut()
                .zip(&next)
                .for_each(|(v, q)| *v -= along * q);
        }
        basis.push(next);
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::orthonormal;

    #[test]
    fn a_column_that_others_give_is_left_out() {
        // The third column is minus the sum of the others.
        let rows = [[1.0, 2.0], [3.0, -1.0], [0.5, 4.0], [1e-6, 7.0]];
        let matrix = rows.iter().flat_map(|[a, b]| [*a, *b, -a - b]).collect();
        let basis = orthonormal(matrix, 3);
        assert_eq!(basis.len(), 2);
        let dot = |a: usize, b: usize| -> f64 {
            basis[a].iter().zip(&basis[b]).map(|(a, b)| a * b).sum()
        };
        assert!((dot(0, 0) - 1.0).abs() < 1e-15 && dot(0, 1).abs() < 1e-15);
    }
}
