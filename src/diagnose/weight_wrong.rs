//! `weight-transposed-or-wrong`: the right logits' gradient, times another weight.

use nalgebra::DMatrix;

use super::{
    case::Case,
    evidence::{Evidence, cross_entropy},
    hypothesis::{Hypothesis, number},
};
use crate::problem::Wrt;

/// Classes above which the weight is not solved for: the time is cubic in them.
const MOST_CLASSES: usize = 256;
/// Rows a class that are used to solve.
const ROWS_A_CLASS: usize = 8;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    let (k, d) = (evidence.problem.k(), case.columns);
    if evidence.wrt != Wrt::Input || k > MOST_CLASSES {
        return None;
    }
    let rows: Vec<usize> = (0..case.rows()).filter(|&row| case.row(row).all(|e| case.is_live(e))).collect();
    let every = (rows.len() / (ROWS_A_CLASS * k)).max(1);
    let used: Vec<usize> = rows.iter().copied().step_by(every).collect();
    // The rows of G sum to 0, so k - 1 of them make any; more must agree for that to say something.
    if used.len() < k + 3 {
        return None;
    }
    let left = logits_gradient(evidence, &used);
    let left = DMatrix::from_row_slice(used.len(), k, &left);
    let right = DMatrix::from_fn(used.len(), d, |row, column| case.a[case.row(used[row]).start + column]);
    let svd = left.svd(true, true);
    let weight = svd.solve(&right, 1e-12 * svd.singular_values.max()).ok()?;
    let weight: Vec<f64> = weight.transpose().as_slice().to_vec();
    let all = logits_gradient(evidence, &(0..case.rows()).collect::<Vec<_>>());
    let g = crate::cpu::matmul::matmul(&all, &weight, d);
    // Rounding goes with the magnitudes of the weight that was used.
    let larger = ratio(&weight, &evidence.layer.weight).max(1.0);
    let allowed = case.allowed.iter().map(|allowed| 2.0 * larger * allowed).collect();
    let after = case.against(g, allowed);
    if !after.is_explained() {
        return None;
    }
    let (name, text) = (evidence.name(), number(distance(evidence, &weight)));
    let is_transpose = k == d && {
        let own = &evidence.layer.weight;
        let transpose: Vec<f64> = (0..k * d).map(|e| own[e % d * d + e / d]).collect();
        centred_distance(&weight, &transpose, d) < 1e-2
    };
    let (message, fix) = match is_transpose {
        true => (
            format!("{name} is the logits' gradient times the transpose of the weight: the product was taken the wrong way round"),
            "multiply by the weight as it is, dlogits @ weight: nn.Linear keeps it as [out_features, in_features], flax's Dense as [in, out]".to_owned(),
        ),
        false => (
            format!("{name} is the logits' gradient times another weight than the file's, which it differs from by {text} relative"),
            "save the weight that the backward pass used: another layer's, another checkpoint's, or one that was changed in place between the forward and the backward pass".to_owned(),
        ),
    };
    Some(
        Hypothesis::new(
            "weight-transposed-or-wrong",
            after,
            "compared with the weight that fits best",
            message,
            fix,
        )
        .confidence(0.9)
        .evidence("distance", distance(evidence, &weight)),
    )
}

/// (R p - r)/Z of some of the rows that are looked at, [rows, k].
fn logits_gradient(evidence: &Evidence, rows: &[usize]) -> Vec<f64> {
    let samples: Vec<usize> = rows.iter().map(|&row| evidence.rows[row]).collect();
    evidence.derivatives(&samples, &evidence.layer, &cross_entropy)
}

fn ratio(a: &[f64], b: &[f64]) -> f64 {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
    largest(a) / largest(b)
}

fn distance(evidence: &Evidence, weight: &[f64]) -> f64 {
    centred_distance(weight, &evidence.layer.weight, evidence.problem.d())
}

/// |a - b| / |b| of weights [k, d] without the mean over the classes, which no gradient shows.
fn centred_distance(a: &[f64], b: &[f64], d: usize) -> f64 {
    let k = a.len() / d;
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean: Vec<f64> = (0..d).map(|i| values[i..].iter().step_by(d).sum::<f64>() / k as f64).collect();
        values.iter().enumerate().map(|(e, v)| v - mean[e % d]).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let square: f64 = b.iter().map(|b| b * b).sum();
    let off: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
    (off / square).sqrt()
}
