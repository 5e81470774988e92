//! `rows-permuted`: the right rows in another order.

use super::{
    case::Case,
    evidence::{Evidence, Sample, cross_entropy},
    hypothesis::Hypothesis,
    matching::{Directions, Signature, describe, directions, pair, signature},
};
use crate::problem::Wrt;

/// Rows that went elsewhere do not point where they pointed.
const LARGEST_COSINE: f64 = 0.98;
/// Between two draws of rows of the same distribution, at a few hundred rows; chance has 0.1 once in a hundred.
const LARGEST_DISTANCE: f64 = 0.15;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if case.rows() < 3 || (evidence.wrt.is_parameter() && !evidence.is_whole()) {
        return None;
    }
    let on = directions(case.columns);
    // Of all rows: those of a draw are others in a than in g.
    let tally = &evidence.check.tally;
    let scale = match evidence.is_whole() {
        true => case.norm_ratio(),
        false => (tally.analytic_analytic.value() / tally.numeric_numeric.value()).sqrt(),
    };
    let given: Vec<Signature> = (0..case.rows())
        .map(|row| {
            let live = |e: usize| {
                if case.is_live(e) {
                    case.a[e] / scale
                } else {
                    0.0
                }
            };
            signature(case.row(row).map(live), &on)
        })
        .collect();
    let (after, how) = match evidence.is_whole() {
        true => whole(case, &given, &on)?,
        false => drawn(evidence, case, &given, &on)?,
    };
    let name = evidence.name();
    let (noun, look) = match evidence.wrt.is_parameter() {
        true => (
            "classes",
            "a class order that differs between the model and the file",
        ),
        false => (
            "samples",
            "a shuffling DataLoader, a sampler or a sort between saving the input and the gradient",
        ),
    };
    Some(Hypothesis::new(
        "rows-permuted",
        after,
        "with its rows put back",
        format!("{name} has the right rows {how}: its {noun} are not in the order of the file's"),
        format!(
            "save input, target and gradient of the same batch, in the same order: look for {look}"
        ),
    ))
}

fn whole(case: &Case, given: &[Signature], on: &Directions) -> Option<(Case, String)> {
    let right: Vec<Signature> = (0..case.rows())
        .map(|row| signature(case.row(row).map(|e| case.g[e]), on))
        .collect();
    let permutation = pair(given, &right)?;
    let how = describe(&permutation)?;
    let mut back = case.a.clone();
    for (from, &to) in permutation.iter().enumerate() {
        back[case.row(to)].copy_from_slice(&case.a[case.row(from)]);
    }
    Some((case.with(back), how))
}

/// Of a draw of rows: each is looked for among all rows of the right gradient, by what those are without being computed.
fn drawn(
    evidence: &Evidence,
    case: &Case,
    given: &[Signature],
    on: &Directions,
) -> Option<(Case, String)> {
    // A first look, as it takes a pass over all samples.
    let is_wrong = |row: &usize| {
        case.row(*row)
            .any(|e| !((case.a[e] - case.g[e]).abs() <= case.allowed[e]))
    };
    let wrong = (0..case.rows()).filter(is_wrong).count();
    if 2 * wrong < case.rows() || case.cosine() > LARGEST_COSINE || !have_like_norms(case) {
        return None;
    }
    let (k, z) = (evidence.problem.k(), evidence.problem.normalizer());
    // Of G·W it is G·(W·direction).
    let on_logits: Directions = std::array::from_fn(|i| match evidence.wrt {
        Wrt::Logits => on[i].clone(),
        _ => (0..k)
            .map(|c| {
                let row = evidence.layer.weight[c * case.columns..].iter();
                row.zip(&on[i]).map(|(w, d)| w * d).sum()
            })
            .collect(),
    });
    let add = |signatures: &mut Vec<Signature>, sample: &Sample| {
        let (mut soft, mut hard) = (vec![0.0; k], vec![0.0; k]);
        cross_entropy(sample, &mut soft, &mut hard);
        let derivative = soft.iter().zip(&hard).map(|(soft, hard)| (soft - hard) / z);
        signatures.push(signature(derivative, &on_logits));
    };
    let right = evidence.each_sample(&evidence.samples(false), Vec::new, add, |mut all, part| {
        all.extend(part);
        all
    });
    let from = pair(given, &right)?;
    let moved = from
        .iter()
        .zip(&evidence.rows)
        .filter(|(from, row)| from != row)
        .count();
    if moved == 0 {
        return None;
    }
    let g = evidence.predict_rows(&from, &evidence.layer, &cross_entropy);
    let allowed = evidence.allowed_rows(&from, &evidence.layer, &cross_entropy, &g, case.dtype);
    let n = evidence.problem.n();
    let by = (from[0] + n - evidence.rows[0]) % n;
    let is_shift = from
        .iter()
        .zip(&evidence.rows)
        .all(|(&from, &row)| from == (row + by) % n);
    let how = match is_shift {
        true => format!("moved by {}", by.min(n - by)),
        false => format!(
            "in another order ({moved} of the {} looked at are elsewhere)",
            from.len()
        ),
    };
    Some((case.against(g, allowed), how))
}

/// Whether the rows' norms are distributed alike in a and g, up to one factor (the distance of Kolmogorov and Smirnov).
fn have_like_norms(case: &Case) -> bool {
    let norms = |values: &[f64], scale: f64| -> Vec<f64> {
        let norm = |row| {
            case.row(row)
                .map(|e| (values[e] / scale).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let mut norms: Vec<f64> = (0..case.rows()).map(norm).collect();
        norms.sort_by(f64::total_cmp);
        norms
    };
    let (given, right) = (norms(&case.a, case.norm_ratio()), norms(&case.g, 1.0));
    let n = given.len() as f64;
    let below = |norm: f64| right.partition_point(|other| *other < norm) as f64;
    let distance = given
        .iter()
        .enumerate()
        .map(|(i, &norm)| (i as f64 - below(norm)).abs() / n)
        .fold(0.0, f64::max);
    distance <= LARGEST_DISTANCE
}
