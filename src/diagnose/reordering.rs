//! Search for a permutation of rows or columns that turns the right gradient into the gradient
//! under test.

use super::{
    evidence::Evidence,
    losses::{Datum, cross_entropy},
    matching::{Directions, Signature, describe, directions, displaced, match_up, signature},
    pair::Pair,
};
use crate::problem::Wrt;

/// Cosine above which rows did not move: displaced rows point elsewhere. Chosen.
const LARGEST_COSINE: f64 = 0.98;
/// Largest distance of the distributions of norms in two draws of rows. Chosen: at a few hundred
/// rows of one distribution, chance exceeds 0.1 once in a hundred.
const LARGEST_DISTANCE: f64 = 0.15;

/// A pair with its rows or columns back in order.
pub(super) struct Reordered {
    pub(super) after: Pair,
    /// The order that was found, in words: "in reverse order".
    pub(super) how: String,
    /// Displaced columns, or displaced rows if the whole gradient was examined.
    pub(super) displaced: Vec<usize>,
}

/// Finds the order of the columns. Returns `None` if no column moved.
pub(super) fn columns(pair: &Pair) -> Option<Reordered> {
    if pair.columns < 2 {
        return None;
    }
    let scale = pair.norm_ratio();
    let on = directions(pair.rows());
    let signatures = |values: &[f64], by: f64| -> Vec<Signature> {
        let column = |i: usize| {
            let entries = (i..values.len()).step_by(pair.columns);
            entries.map(move |e| if pair.is_live(e) { values[e] / by } else { 0.0 })
        };
        (0..pair.columns)
            .map(|i| signature(column(i), &on))
            .collect()
    };
    let permutation = match_up(&signatures(&pair.a, scale), &signatures(&pair.g, 1.0))?;
    let how = describe(&permutation)?;
    let mut back = pair.a.clone();
    for row in 0..pair.rows() {
        let entries = pair.row(row);
        for (from, &to) in permutation.iter().enumerate() {
            back[entries.start + to] = pair.a[entries.start + from];
        }
    }
    Some(Reordered {
        after: pair.with(back),
        how,
        displaced: displaced(&permutation).collect(),
    })
}

/// Finds the order of the rows. Returns `None` if no row moved.
pub(super) fn rows(evidence: &Evidence, pair: &Pair) -> Option<Reordered> {
    if pair.rows() < 3 || (evidence.wrt.is_parameter() && !evidence.is_whole()) {
        return None;
    }
    let on = directions(pair.columns);
    // If rows moved, a draw holds other rows in a than in g, so the norms of the draw differ.
    let sums = &evidence.check.tally.sums;
    let scale = if evidence.is_whole() {
        pair.norm_ratio()
    } else {
        (sums.analytic_analytic.value() / sums.numeric_numeric.value()).sqrt()
    };
    let live = |e: usize| {
        if pair.is_live(e) {
            pair.a[e] / scale
        } else {
            0.0
        }
    };
    let given: Vec<Signature> = (0..pair.rows())
        .map(|row| signature(pair.row(row).map(live), &on))
        .collect();
    if evidence.is_whole() {
        whole(pair, &given, &on)
    } else {
        drawn(evidence, pair, &given, &on)
    }
}

/// Matches all rows of a to all of g, and moves them back.
fn whole(pair: &Pair, given: &[Signature], on: &Directions) -> Option<Reordered> {
    let right: Vec<Signature> = (0..pair.rows())
        .map(|row| signature(pair.row(row).map(|e| pair.g[e]), on))
        .collect();
    let permutation = match_up(given, &right)?;
    let how = describe(&permutation)?;
    let mut back = pair.a.clone();
    for (from, &to) in permutation.iter().enumerate() {
        back[pair.row(to)].copy_from_slice(&pair.a[pair.row(from)]);
    }
    Some(Reordered {
        after: pair.with(back),
        how,
        displaced: displaced(&permutation).collect(),
    })
}

/// Matches the chosen rows of a to rows of the whole right gradient, and compares them with their
/// matches.
fn drawn(
    evidence: &Evidence,
    pair: &Pair,
    given: &[Signature],
    on: &Directions,
) -> Option<Reordered> {
    // Cheap tests first: the match takes a pass over all samples.
    let is_wrong = |row: &usize| pair.row(*row).any(|e| pair.is_wrong(e));
    let wrong = (0..pair.rows()).filter(is_wrong).count();
    if 2 * wrong < pair.rows() || pair.cosine() > LARGEST_COSINE || !have_like_norms(pair) {
        return None;
    }
    let from = match_up(given, &signatures(evidence, pair.columns, on))?;
    let places = || from.iter().zip(&evidence.rows);
    let displaced = places().filter(|(from, row)| from != row).count();
    if displaced == 0 {
        return None;
    }
    let g = evidence.predict_rows(&from, &evidence.layer, &cross_entropy);
    let allowed = evidence.allowed_rows(&from, &evidence.layer, &cross_entropy, &g, pair.dtype);
    let n = evidence.problem.n();
    let by = (from[0] + n - evidence.rows[0]) % n;
    let is_shift = places().all(|(&from, &row)| from == (row + by) % n);
    let how = if is_shift {
        format!("shifted by {}", by.min(n - by))
    } else {
        let all = from.len();
        format!("in another order ({displaced} of the {all} examined are displaced)")
    };
    Some(Reordered {
        after: pair.against(g, allowed),
        how,
        displaced: Vec::new(),
    })
}

/// Returns the signatures of all rows of the right gradient, without computing the rows: the
/// projection of a row of G·W on a direction equals the projection of G's row on W·direction.
fn signatures(evidence: &Evidence, columns: usize, on: &Directions) -> Vec<Signature> {
    let (k, z) = (evidence.problem.k(), evidence.problem.normalizer());
    let on_logits: Directions = std::array::from_fn(|i| match evidence.wrt {
        Wrt::Logits => on[i].clone(),
        _ => (0..k)
            .map(|c| {
                let row = evidence.layer.weight[c * columns..].iter();
                row.zip(&on[i]).map(|(w, d)| w * d).sum()
            })
            .collect(),
    });
    let add = |signatures: &mut Vec<Signature>, sample: &Datum| {
        let (mut soft, mut hard) = (vec![0.0; k], vec![0.0; k]);
        cross_entropy(sample, &mut soft, &mut hard);
        let derivative = soft.iter().zip(&hard).map(|(soft, hard)| (soft - hard) / z);
        signatures.push(signature(derivative, &on_logits));
    };
    evidence.fold_samples(&evidence.samples(false), Vec::new, add, |mut all, part| {
        all.extend(part);
        all
    })
}

/// Returns true if the norms of the rows have the same distribution in a and g up to one factor, by
/// the Kolmogorov-Smirnov distance.
fn have_like_norms(pair: &Pair) -> bool {
    let norms = |values: &[f64], scale: f64| -> Vec<f64> {
        let norm = |row| {
            let squares = pair.row(row).map(|e| (values[e] / scale).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let mut norms: Vec<f64> = (0..pair.rows()).map(norm).collect();
        norms.sort_by(f64::total_cmp);
        norms
    };
    let (given, right) = (norms(&pair.a, pair.norm_ratio()), norms(&pair.g, 1.0));
    let n = given.len() as f64;
    let below = |norm: f64| right.partition_point(|other| *other < norm) as f64;
    let distance = given
        .iter()
        .enumerate()
        .map(|(i, &norm)| (i as f64 - below(norm)).abs() / n)
        .fold(0.0, f64::max);
    distance <= LARGEST_DISTANCE
}
