//! `rows-permuted`: the right rows in another order.

use super::{
    evidence::{Datum, Evidence, cross_entropy},
    hypothesis::Hypothesis,
    matching::{Directions, Signature, describe, directions, match_up, signature},
    pair::Pair,
};
use crate::{problem::Wrt, report::Code};

/// Rows that went elsewhere do not point where they pointed.
const LARGEST_COSINE: f64 = 0.98;
/// Between two draws of rows of the same distribution, at a few hundred rows; chance has 0.1 once in a hundred.
const LARGEST_DISTANCE: f64 = 0.15;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if pair.rows() < 3 || (evidence.wrt.is_parameter() && !evidence.is_whole()) {
        return None;
    }
    let on = directions(pair.columns);
    // Of all rows: those of a draw are others in a than in g.
    let tally = &evidence.check.tally;
    let scale = if evidence.is_whole() {
        pair.norm_ratio()
    } else {
        (tally.sums.analytic_analytic.value() / tally.sums.numeric_numeric.value()).sqrt()
    };
    let given: Vec<Signature> = (0..pair.rows())
        .map(|row| {
            let live = |e: usize| {
                if pair.is_live(e) {
                    pair.a[e] / scale
                } else {
                    0.0
                }
            };
            signature(pair.row(row).map(live), &on)
        })
        .collect();
    let (after, how) = if evidence.is_whole() {
        whole(pair, &given, &on)?
    } else {
        drawn(evidence, pair, &given, &on)?
    };
    let name = evidence.name();
    let (noun, look) = if evidence.wrt.is_parameter() {
        (
            "classes",
            "a class order that differs between the model and the file",
        )
    } else {
        (
            "samples",
            "a shuffling DataLoader, a sampler or a sort between saving the input and the gradient",
        )
    };
    Some(Hypothesis::new(
        Code::RowsPermuted,
        after,
        "with its rows put back",
        format!("{name} has the right rows {how}: its {noun} are not in the order of the file's"),
        format!(
            "save input, target and gradient of the same batch, in the same order: look for {look}"
        ),
    ))
}

fn whole(pair: &Pair, given: &[Signature], on: &Directions) -> Option<(Pair, String)> {
    let right: Vec<Signature> = (0..pair.rows())
        .map(|row| signature(pair.row(row).map(|e| pair.g[e]), on))
        .collect();
    let permutation = match_up(given, &right)?;
    let how = describe(&permutation)?;
    let mut back = pair.a.clone();
    for (from, &to) in permutation.iter().enumerate() {
        back[pair.row(to)].copy_from_slice(&pair.a[pair.row(from)]);
    }
    Some((pair.with(back), how))
}

/// Of a draw of rows: each is looked for among all rows of the right gradient, by what those are without being computed.
fn drawn(
    evidence: &Evidence,
    pair: &Pair,
    given: &[Signature],
    on: &Directions,
) -> Option<(Pair, String)> {
    // A first look, as it takes a pass over all samples.
    let is_wrong = |row: &usize| {
        pair.row(*row)
            .any(|e| !((pair.a[e] - pair.g[e]).abs() <= pair.allowed[e]))
    };
    let wrong = (0..pair.rows()).filter(is_wrong).count();
    if 2 * wrong < pair.rows() || pair.cosine() > LARGEST_COSINE || !have_like_norms(pair) {
        return None;
    }
    let (k, z) = (evidence.problem.k(), evidence.problem.normalizer());
    // Of G·W it is G·(W·direction).
    let on_logits: Directions = std::array::from_fn(|i| match evidence.wrt {
        Wrt::Logits => on[i].clone(),
        _ => (0..k)
            .map(|c| {
                let row = evidence.layer.weight[c * pair.columns..].iter();
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
    let right = evidence.each_sample(&evidence.samples(false), Vec::new, add, |mut all, part| {
        all.extend(part);
        all
    });
    let from = match_up(given, &right)?;
    let moved = from
        .iter()
        .zip(&evidence.rows)
        .filter(|(from, row)| from != row)
        .count();
    if moved == 0 {
        return None;
    }
    let g = evidence.predict_rows(&from, &evidence.layer, &cross_entropy);
    let allowed = evidence.allowed_rows(&from, &evidence.layer, &cross_entropy, &g, pair.dtype);
    let n = evidence.problem.n();
    let by = (from[0] + n - evidence.rows[0]) % n;
    let is_shift = from
        .iter()
        .zip(&evidence.rows)
        .all(|(&from, &row)| from == (row + by) % n);
    let how = if is_shift {
        format!("moved by {}", by.min(n - by))
    } else {
        format!(
            "in another order ({moved} of the {} looked at are elsewhere)",
            from.len()
        )
    };
    Some((pair.against(g, allowed), how))
}

/// Whether the rows' norms are distributed alike in a and g, up to one factor (the distance of Kolmogorov and Smirnov).
fn have_like_norms(pair: &Pair) -> bool {
    let norms = |values: &[f64], scale: f64| -> Vec<f64> {
        let norm = |row| {
            pair.row(row)
                .map(|e| (values[e] / scale).powi(2))
                .sum::<f64>()
                .sqrt()
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
