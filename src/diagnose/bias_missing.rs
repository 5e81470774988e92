//! `bias-missing`: the layer without its bias, or with another.

use super::{
    evidence::{Evidence, Layer, cross_entropy},
    hypothesis::{Hypothesis, number},
    pair::Pair,
    weight_wrong::orthonormal,
};
use crate::report::Code;

/// Classes above which no bias is looked for: each costs a prediction a step.
const MOST_CLASSES: usize = 64;
/// Entries that each of the numbers that are solved for must explain.
const ENTRIES_A_CLASS: usize = 6;
/// A bias farther from the file's makes one class certain, which other losses do as well.
const LARGEST: f64 = 6.0;
/// Steps of Gauss and Newton.
const STEPS: usize = 12;
/// How far a bias is moved to see where that leads.
const PROBE: f64 = 1e-5;
/// What the first step must take off the errors for another to be worth its time.
const LARGEST_FIRST_REST: f64 = 0.7;

/// The file has a bias, the gradient has none.
pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let bias = &evidence.layer.bias;
    // A constant moves no softmax.
    if bias.iter().all(|b| *b == bias[0]) {
        return None;
    }
    let without = Layer {
        weight: evidence.layer.weight.clone(),
        bias: vec![0.0; bias.len()],
    };
    let after = evidence.explains(pair, &without, &cross_entropy)?;
    let name = evidence.name();
    Some(Hypothesis::new(
        Code::BiasMissing,
        after,
        "compared without the bias",
        format!("{name} is the gradient of the layer without its bias"),
        "add the bias in the forward pass that made it (x @ weight.T + bias), or leave it out of the file if the layer has none",
    ))
}

/// The gradient has a bias that the file has not: it is solved for.
pub(super) fn another(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let k = evidence.problem.k();
    let entries = pair.live().count();
    if k > MOST_CLASSES || entries < ENTRIES_A_CLASS * k || pair.cosine() < 0.5 {
        return None;
    }
    let mut layer = Layer::clone(&evidence.layer);
    let mut left = f64::INFINITY;
    for step in 0..STEPS {
        let here = evidence.predict(&layer, &cross_entropy);
        let rest = distance(pair, &here);
        // Nothing more is to be had, or it leads nowhere.
        if !(rest < left) || (step == 1 && rest > LARGEST_FIRST_REST * left) {
            break;
        }
        left = rest;
        let columns: Vec<Vec<f64>> = (0..k)
            .map(|class| {
                let mut moved = layer.clone();
                moved.bias[class] += PROBE;
                let there = evidence.predict(&moved, &cross_entropy);
                there
                    .iter()
                    .zip(&here)
                    .map(|(there, here)| (there - here) / PROBE)
                    .collect()
            })
            .collect();
        let by = solve(pair, &columns, &here);
        // All classes together move no softmax, but what rounding is allowed for.
        let mean = by.iter().sum::<f64>() / k as f64;
        let bias = layer.bias.iter_mut().zip(by);
        bias.for_each(|(bias, by)| *bias += by - mean);
    }
    let after = evidence.explains(pair, &layer, &cross_entropy)?;
    if !after.is_explained() {
        return None;
    }
    let offs = layer
        .bias
        .iter()
        .zip(&evidence.layer.bias)
        .map(|(new, old)| new - old);
    let mean = offs.clone().sum::<f64>() / k as f64;
    let largest = offs.map(|off| (off - mean).abs()).fold(0.0, f64::max);
    if largest > LARGEST {
        return None;
    }
    let name = evidence.name();
    let (message, fix) = if evidence.problem.has_bias() {
        (
            format!(
                "{name} is the gradient of the layer with another bias than the file's, up to {} away",
                number(largest)
            ),
            "save the bias that the forward pass used: another step's, another layer's, or one that was changed in place",
        )
    } else {
        (
            format!(
                "{name} is the gradient of a layer with a bias, up to {} in magnitude, and the file has none",
                number(largest)
            ),
            "put the layer's bias into the file, as bias",
        )
    };
    Some(
        Hypothesis::new(
            Code::BiasMissing,
            after,
            "compared with the bias that fits",
            message,
            fix,
        )
        .confidence(0.9)
        .evidence("largest difference", largest),
    )
}

fn distance(pair: &Pair, g: &[f64]) -> f64 {
    pair.live()
        .map(|(entry, a, _, _)| (a - g[entry]).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The least-squares solution of sum_c `columns[c]`·x\[c\] = a - g over the live entries; of equals the smallest.
fn solve(pair: &Pair, columns: &[Vec<f64>], g: &[f64]) -> Vec<f64> {
    let k = columns.len();
    let live: Vec<usize> = pair.live().map(|(entry, ..)| entry).collect();
    let matrix = live
        .iter()
        .flat_map(|&entry| columns.iter().map(move |column| column[entry]))
        .collect();
    let error: Vec<f64> = live.iter().map(|&entry| pair.a[entry] - g[entry]).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // Steepest descent would do, but slowly; in the basis of the columns a few conjugate steps are exact.
    let basis = orthonormal(matrix, k);
    let rows: Vec<Vec<f64>> = basis
        .iter()
        .map(|q| {
            let of_column = |column: &Vec<f64>| {
                live.iter()
                    .zip(q)
                    .map(|(&entry, q)| column[entry] * q)
                    .sum()
            };
            columns.iter().map(of_column).collect()
        })
        .collect();
    let right: Vec<f64> = basis.iter().map(|q| dot(q, &error)).collect();
    conjugate_gradients(&rows, &right, k)
}

/// The least-squares solution of rows·x = right, from 0.
fn conjugate_gradients(rows: &[Vec<f64>], right: &[f64], k: usize) -> Vec<f64> {
    let times = |x: &[f64]| -> Vec<f64> {
        rows.iter()
            .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum())
            .collect()
    };
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
        if !(length > 1e-28 * first) {
            break;
        }
        let moved = times(&direction);
        let step = length / square(&moved);
        x.iter_mut()
            .zip(&direction)
            .for_each(|(x, d)| *x += step * d);
        rest.iter_mut()
            .zip(&moved)
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

#[cfg(test)]
mod tests {
    use super::conjugate_gradients;

    #[test]
    fn a_small_system_is_solved() {
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
}
