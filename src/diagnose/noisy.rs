//! `noisy`: random errors in every entry.

use super::{
    errors::Errors,
    evidence::Evidence,
    hypothesis::{Hypothesis, number},
    pair::Pair,
    weight_wrong::{MOST_CLASSES, orthonormal},
};
use crate::{problem::Wrt, report::Code};

/// Above it the gradient is more noise than gradient, and nothing can be said of it.
const LARGEST: f64 = 0.5;
/// Kurtosis of what is about normal, where there are enough entries to tell.
const NORMAL: std::ops::Range<f64> = 2.0..4.5;
/// How much more rows and columns may differ than chance has it.
const ALIKE: f64 = 2.5;
/// Entries that are needed to say that there is no pattern.
const LEAST: usize = 24;
/// Of the share of noise that lies where no gradient of the layer does, the least that must be there.
const LEAST_OUTSIDE: f64 = 0.6;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let remainder = pair.fit(1.0).remainder;
    if !(remainder < LARGEST)
        || !pair.is_unbiased()
        || pair.storage > 0.0
        || evidence.wrt == Wrt::Bias
    {
        return None;
    }
    let looks_random = |errors: &Errors| {
        NORMAL.contains(&errors.kurtosis) && errors.rows < ALIKE && errors.columns < ALIKE
    };
    let alike = Errors::of(pair, |_, _, _| 1.0).filter(looks_random);
    let relative = Errors::of(pair, |_, g, _| g.abs()).filter(looks_random);
    let (errors, of_what) = match (alike, relative) {
        (Some(alike), _) => (alike, "of one size for all entries"),
        (None, Some(relative)) => (relative, "in proportion to each entry"),
        (None, None) => return None,
    };
    // What another loss, or another label, would have made stays where every gradient of this layer lies; noise does not.
    let outside = outside(evidence, pair);
    if pair.live().count() < LEAST || outside.is_some_and(|share| share < LEAST_OUTSIDE) {
        return None;
    }
    let name = evidence.name();
    Some(
        Hypothesis::new(
            Code::Noisy,
            pair.clone(),
            "",
            format!("{name} is the derivative with random errors, {} of it in all and {of_what}: about normal, and without a pattern in rows or columns", number(remainder)),
            "look for noise that is added on purpose (differential privacy, gradient noise), for a stochastic layer, for quantised or compressed gradients, or for a gradient that is itself a finite difference in f32",
        )
        .confidence(if outside.is_some() { 0.8 } else { 0.5 })
        .evidence("remainder", remainder)
        .evidence("rms", errors.rms)
        .evidence("kurtosis", errors.kurtosis)
        .settling(),
    )
}

/// How much of the errors lies outside of the space that the layer's gradients span, as a share of what noise has there; none where there
/// is no room outside. Gradients of the input are combinations of differences of the weight's rows, as every row of P - Y sums to 0;
/// those of the logits, and of a weight's or bias's columns, sum to 0.
fn outside(evidence: &Evidence, pair: &Pair) -> Option<f64> {
    let (rows, columns) = (pair.rows(), pair.columns);
    let error = |entry: usize| {
        if pair.is_live(entry) {
            pair.a[entry] - pair.g[entry]
        } else {
            0.0
        }
    };
    let all: f64 = (0..pair.a.len()).map(|entry| error(entry).powi(2)).sum();
    match evidence.wrt {
        Wrt::Input => {
            let (k, d) = (evidence.problem.k(), columns);
            if k > MOST_CLASSES || k > d {
                return None;
            }
            let weight = &evidence.layer.weight;
            let mean: Vec<f64> = (0..d)
                .map(|i| weight[i..].iter().step_by(d).sum::<f64>() / k as f64)
                .collect();
            // As the columns of a matrix [d, k].
            let centred = (0..d).flat_map(|i| (0..k).map(move |c| (i, c)));
            let centred = centred.map(|(i, c)| weight[c * d + i] - mean[i]).collect();
            let basis = orthonormal(centred, k);
            if basis.len() >= d {
                return None;
            }
            let along = |row: usize, direction: &Vec<f64>| {
                let terms = pair
                    .row(row)
                    .zip(direction)
                    .map(|(entry, q)| error(entry) * q);
                terms.sum::<f64>().powi(2)
            };
            let inside: f64 = (0..rows)
                .map(|row| basis.iter().map(|q| along(row, q)).sum::<f64>())
                .sum();
            let expected = 1.0 - basis.len() as f64 / d as f64;
            Some((1.0 - inside / all) / expected)
        }
        Wrt::Logits => {
            let sums = (0..rows).map(|row| pair.row(row).map(error).sum::<f64>().powi(2));
            Some(sums.sum::<f64>() / all)
        }
        // Down the classes, if all of them are looked at.
        Wrt::Weight if evidence.is_whole() => {
            let sum = |column: usize| {
                (0..rows)
                    .map(|row| error(row * columns + column))
                    .sum::<f64>()
            };
            Some((0..columns).map(|column| sum(column).powi(2)).sum::<f64>() / all)
        }
        _ => None,
    }
}
