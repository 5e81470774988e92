//! `label-smoothing-missing`: another share of smoothing than the file declares.

use super::{
    evidence::{Datum, Evidence, target},
    hypothesis::{Hypothesis, number},
    model::regress,
    pair::Pair,
};
use crate::{loss::CrossEntropy, report::Code};

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let loss = evidence.problem.loss();
    let smoothed = |label_smoothing| {
        evidence.problem.with_loss(CrossEntropy {
            label_smoothing,
            ..loss.clone()
        })
    };
    // The gradient is linear in the share.
    let (none, all) = (smoothed(0.0)?, smoothed(1.0)?);
    let at = |share: f64| {
        let (none, all) = (&none, &all);
        move |sample: &Datum, soft: &mut [f64], hard: &mut [f64]| {
            let (mut r0, mut r1) = (vec![0.0; hard.len()], vec![0.0; hard.len()]);
            let total0 = target(none, sample.index, &mut r0);
            let total1 = target(all, sample.index, &mut r1);
            let mix = |a: f64, b: f64| (1.0 - share) * a + share * b;
            let entries = soft.iter_mut().zip(hard).zip(sample.softmax);
            for (((soft, hard), p), (r0, r1)) in entries.zip(r0.iter().zip(&r1)) {
                *soft = mix(total0, total1) * p;
                *hard = mix(*r0, *r1);
            }
        }
    };
    let g = evidence.predict(&evidence.layer, &at(0.0));
    let slope: Vec<f64> = evidence
        .predict(&evidence.layer, &at(1.0))
        .iter()
        .zip(&g)
        .map(|(one, zero)| one - zero)
        .collect();
    let fit = regress(pair, &g, &slope)?;
    let share = fit.beta / fit.alpha;
    if !(-0.01..=1.01).contains(&share) {
        return None;
    }
    // People choose hundredths.
    let round = (share * 100.0).round().abs() / 100.0;
    let (after, share) = [round, share]
        .into_iter()
        .filter(|share| (*share - loss.label_smoothing).abs() > 1e-6)
        .find_map(|share| Some((evidence.explains(pair, &evidence.layer, &at(share))?, share)))?;
    let (name, declared) = (evidence.name(), loss.label_smoothing);
    let message = match (share, declared) {
        (0.0, declared) => format!(
            "{name} is the gradient without label smoothing, and the loss smooths by {declared}"
        ),
        (share, 0.0) => format!(
            "{name} is the gradient with label_smoothing={}, and none is declared",
            number(share)
        ),
        (share, declared) => format!(
            "{name} is the gradient with label_smoothing={}, and the loss smooths by {declared}",
            number(share)
        ),
    };
    Some(
        Hypothesis::new(
            Code::LabelSmoothingMissing,
            after,
            format!("compared with a smoothing of {}", number(share)),
            message,
            format!("give both sides the same label_smoothing: {declared} in the program, or --label-smoothing {share} here"),
        )
        .evidence("label_smoothing", share)
        .evidence("declared", declared),
    )
}
