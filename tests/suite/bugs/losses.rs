//! Backward passes of losses other than the declared one.

use std::rc::Rc;

use super::{
    numbers::transposed,
    program::{Backward, Program, cross_entropy},
};

/// Returns (probabilities - one-hot) / Z, as people write it by hand: with or without the one-hot
/// target, with ignored rows masked or not.
pub(crate) fn by_hand(
    probabilities: fn(&Program, &[f64]) -> Vec<f64>,
    one_hot: bool,
    masked: bool,
) -> Backward {
    Rc::new(move |program, z| {
        let k = program.shape.2;
        let weights = program.weights();
        let share = weights.iter().copied().fold(0.0, f64::max);
        let probabilities = probabilities(program, z);
        let entry = |e: usize| {
            let row = &weights[e / k * k..][..k];
            let total = if masked { row.iter().sum() } else { share };
            let y = if one_hot { weights[e] } else { 0.0 };
            program.arithmetic.round(total * probabilities[e] - y)
        };
        (0..z.len()).map(entry).collect()
    })
}

pub(crate) fn softmax(program: &Program, z: &[f64]) -> Vec<f64> {
    let log_p = program.arithmetic.log_softmax(z, program.shape.2);
    map(program, &log_p, f64::exp)
}

pub(crate) fn sigmoid(program: &Program, z: &[f64]) -> Vec<f64> {
    map(program, z, |z| 1.0 / (1.0 + (-z).exp()))
}

/// Returns probabilities of zero.
pub(crate) fn nothing(_: &Program, z: &[f64]) -> Vec<f64> {
    vec![0.0; z.len()]
}

pub(crate) fn softmax_over_batch(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let log_p = program.arithmetic.log_softmax(&transposed(z, k), n);
    transposed(&map(program, &log_p, f64::exp), n)
}

/// Computes the backward pass of a loss whose log_softmax is over dim 0.
pub(crate) fn cross_entropy_over_batch(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let arithmetic = program.arithmetic;
    let log_p = arithmetic.log_softmax(&transposed(z, k), n);
    let weights = transposed(&program.weights(), k);
    transposed(&arithmetic.log_softmax_backward(&log_p, &weights, n), n)
}

/// Computes the backward pass of cross_entropy(softmax(z)).
pub(crate) fn cross_entropy_of_softmax(program: &Program, z: &[f64]) -> Vec<f64> {
    let p = softmax(program, z);
    softmax_backward(program, &p, &cross_entropy(program, &p))
}

/// Returns the backward pass of cross_entropy(z / T), with or without its division by T.
pub(crate) fn cross_entropy_at(temperature: f64, chained: bool) -> Backward {
    Rc::new(move |program, z| {
        let divided = |values: &[f64]| map(program, values, |v| v / temperature);
        let gradient = cross_entropy(program, &divided(z));
        if chained {
            divided(&gradient)
        } else {
            gradient
        }
    })
}

/// Computes the backward pass of the mean square of softmax - one-hot.
pub(crate) fn square(program: &Program, z: &[f64]) -> Vec<f64> {
    let p = softmax(program, z);
    let n = program.shape.0 as f64;
    let weights = program.weights();
    let entry = |(p, w): (&f64, &f64)| program.arithmetic.round(2.0 * (p / n - w));
    let dp: Vec<f64> = p.iter().zip(&weights).map(entry).collect();
    softmax_backward(program, &p, &dp)
}

/// Computes the backward pass of PyTorch's multi_margin_loss.
pub(crate) fn hinge(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let share = program.arithmetic.round(1.0 / (n * k) as f64);
    let mut gradient = vec![0.0; n * k];
    for (j, &y) in program.target.iter().enumerate() {
        let y = j * k + y as usize;
        for e in j * k..(j + 1) * k {
            if e != y && 1.0 - z[y] + z[e] > 0.0 {
                gradient[e] += share;
                gradient[y] -= share;
            }
        }
    }
    gradient
}

/// Computes the backward pass of (1 - p)² times the cross-entropy.
pub(crate) fn focal(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let log_p = program.arithmetic.log_softmax(z, k);
    let slope = |j: usize| {
        let l = log_p[j * k + program.target[j] as usize];
        let q = 1.0 - l.exp();
        (q * q - 2.0 * q * l.exp() * l) / n as f64
    };
    let mut weights = vec![0.0; n * k];
    let label = |j: usize| j * k + program.target[j] as usize;
    (0..n).for_each(|j| weights[label(j)] = program.arithmetic.round(slope(j)));
    program.arithmetic.log_softmax_backward(&log_p, &weights, k)
}

/// Computes the backward pass of a softmax, given the gradient with respect to the probabilities.
fn softmax_backward(program: &Program, p: &[f64], dp: &[f64]) -> Vec<f64> {
    let (arithmetic, k) = (program.arithmetic, program.shape.2);
    let rows = p.chunks_exact(k).zip(dp.chunks_exact(k));
    let row = |(p, dp): (&[f64], &[f64])| -> Vec<f64> {
        let mean = arithmetic.dot(p.iter().zip(dp).map(|(p, dp)| p * dp));
        let entry = |(p, dp): (&f64, &f64)| arithmetic.round(p * (dp - mean));
        p.iter().zip(dp).map(entry).collect()
    };
    rows.flat_map(row).collect()
}

fn map(program: &Program, values: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    values
        .iter()
        .map(|&v| program.arithmetic.round(f(v)))
        .collect()
}
