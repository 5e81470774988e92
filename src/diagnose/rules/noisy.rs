//! `noisy`: random errors in every entry.

use crate::{
    diagnose::{
        errors::Errors,
        evidence::Evidence,
        hypothesis::Hypothesis,
        least_squares::orthonormal,
        pair::Pair,
        words::{Words, number},
    },
    problem::Wrt,
    report::Code,
};

/// Largest remainder, the norm of the noise relative to that of the gradient. Chosen.
const LARGEST: f64 = 0.5;
/// Kurtosis of approximately normal errors; the normal distribution has 3. Chosen.
const NORMAL: std::ops::Range<f64> = 2.0..4.5;
/// Largest unevenness of random errors over rows and columns. Chosen.
const ALIKE: f64 = 2.5;
/// Least number of entries that can rule out a pattern. Chosen.
const LEAST: usize = 24;
/// Least share of the errors outside the space of the layer's gradients, relative to that of random
/// errors. Chosen.
const LEAST_OUTSIDE: f64 = 0.6;
/// Most classes for which that space is computed: the time is quadratic in them. Chosen.
const MOST_CLASSES: usize = 256;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let remainder = pair.fit(1.0).remainder;
    let is_possible = remainder < LARGEST && pair.is_unbiased() && pair.storage == 0.0;
    if !is_possible || evidence.wrt == Wrt::Bias {
        return None;
    }
    let looks_random = |errors: &Errors| {
        NORMAL.contains(&errors.kurtosis) && errors.rows < ALIKE && errors.columns < ALIKE
    };
    let absolute = Errors::of(pair, |_| 1.0).filter(looks_random);
    let relative = Errors::of(pair, |it| it.g.abs()).filter(looks_random);
    let is_absolute = absolute.is_some();
    let errors = absolute.or(relative)?;
    // Another loss or label changes the gradient only within the space of the layer's gradients.
    let outside = outside(evidence, pair);
    if pair.live().count() < LEAST || outside.is_some_and(|share| share < LEAST_OUTSIDE) {
        return None;
    }
    let words = words(evidence, remainder, is_absolute);
    Some(
        Hypothesis::new(Code::Noisy, pair.clone(), words)
            .confidence(if outside.is_some() { 0.8 } else { 0.5 })
            .evidence("remainder", remainder)
            .evidence("rms", errors.rms)
            .evidence("kurtosis", errors.kurtosis)
            .settling(),
    )
}

/// Returns the share of the errors' squares outside the space of the layer's gradients, relative to
/// the share that random errors have there, or `None` if nothing lies outside or it is unknown.
///
/// 1. Rows of P - Y sum to 0, so gradients of the input are combinations of differences of the
///    weight's rows.
/// 2. For the same reason the rows of a gradient of the logits sum to 0, and the columns of one of
///    the weight. If errors are random, the squares of such sums add up to those of the errors.
fn outside(evidence: &Evidence, pair: &Pair) -> Option<f64> {
    let (rows, columns) = (pair.rows(), pair.columns);
    let errors: Vec<f64> = (0..pair.a.len())
        .map(|e| {
            if pair.is_live(e) {
                pair.a[e] - pair.g[e]
            } else {
                0.0
            }
        })
        .collect();
    let all: f64 = errors.iter().map(|error| error.powi(2)).sum();
    match evidence.wrt {
        Wrt::Input => outside_of_weight(evidence, &errors, all),
        Wrt::Logits => {
            let sums = errors.chunks_exact(columns);
            let squares = sums.map(|row| row.iter().sum::<f64>().powi(2));
            Some(squares.sum::<f64>() / all)
        }
        // All classes are needed.
        Wrt::Weight if evidence.is_whole() => {
            let column = |c: usize| (0..rows).map(move |row| row * columns + c);
            let sum = |c: usize| column(c).map(|e| errors[e]).sum::<f64>();
            Some((0..columns).map(|c| sum(c).powi(2)).sum::<f64>() / all)
        }
        _ => None,
    }
}

/// Returns the share for a gradient of the input, with an orthonormal basis of the differences of
/// the weight's rows.
fn outside_of_weight(evidence: &Evidence, errors: &[f64], all: f64) -> Option<f64> {
    let (d, k) = (evidence.problem.d(), evidence.problem.k());
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
    let along = |row: &[f64], direction: &Vec<f64>| {
        let terms = row.iter().zip(direction).map(|(error, q)| error * q);
        terms.sum::<f64>().powi(2)
    };
    let inside: f64 = errors
        .chunks_exact(d)
        .map(|row| basis.iter().map(|q| along(row, q)).sum::<f64>())
        .sum();
    let expected = 1.0 - basis.len() as f64 / d as f64;
    Some((1.0 - inside / all) / expected)
}

fn words(evidence: &Evidence, remainder: f64, is_absolute: bool) -> Words {
    let (name, remainder) = (evidence.name(), number(remainder));
    let sizes = if is_absolute {
        "of one size for all entries"
    } else {
        "in proportion to each entry"
    };
    Words {
        message: format!(
            "{name} is the correct gradient plus random errors of {remainder} of its norm, \
             {sizes}: about normal, and without a pattern in rows or columns"
        ),
        fix: "look for noise added on purpose (differential privacy, gradient noise), a \
              stochastic layer, quantized or compressed gradients, or a gradient that is itself \
              a finite difference in f32"
            .into(),
        ..Words::default()
    }
}
