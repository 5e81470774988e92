//! `label-smoothing-missing`: a label smoothing other than the declared one.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        least_squares::regress,
        losses::{Datum, target},
        pair::Pair,
        words::{Words, number},
    },
    loss::CrossEntropy,
    problem::Problem,
    report::Code,
};

/// Smoothings that are possible, up to rounding.
const POSSIBLE: std::ops::RangeInclusive<f64> = -0.01..=1.01;
/// Least difference from the declared smoothing. Chosen.
const LEAST_DIFFERENCE: f64 = 1e-6;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let declared = evidence.problem.loss().label_smoothing;
    let smoothed = |label_smoothing| {
        evidence.problem.with_loss(CrossEntropy {
            label_smoothing,
            ..evidence.problem.loss().clone()
        })
    };
    // The gradient is linear in the smoothing.
    let (none, all) = (smoothed(0.0)?, smoothed(1.0)?);
    let at = |smoothing: f64| mixed(&none, &all, smoothing);
    let g = evidence.predict(&evidence.layer, &at(0.0));
    let slope: Vec<f64> = evidence
        .predict(&evidence.layer, &at(1.0))
        .iter()
        .zip(&g)
        .map(|(one, zero)| one - zero)
        .collect();
    let fit = regress(pair, &g, &slope)?;
    let smoothing = fit.beta / fit.alpha;
    if !POSSIBLE.contains(&smoothing) {
        return None;
    }
    // Tries the nearest hundredth first, because people choose round values.
    let round = (smoothing * 100.0).round().abs() / 100.0;
    let candidates = [round, smoothing].into_iter();
    let (after, smoothing) = candidates
        .filter(|smoothing| (*smoothing - declared).abs() > LEAST_DIFFERENCE)
        .find_map(|smoothing| {
            let after = evidence.explains(pair, &evidence.layer, &at(smoothing))?;
            Some((after, smoothing))
        })?;
    let words = words(evidence, smoothing, declared);
    Some(
        Hypothesis::new(Code::LabelSmoothingMissing, after, words)
            .evidence("label_smoothing", smoothing)
            .evidence("declared", declared),
    )
}

/// Returns the loss with a smoothing, as a mix of the loss without smoothing and the loss with full
/// smoothing.
fn mixed(
    none: &Problem,
    all: &Problem,
    smoothing: f64,
) -> impl Fn(&Datum, &mut [f64], &mut [f64]) + Sync {
    move |sample, soft, hard| {
        let (mut r0, mut r1) = (vec![0.0; hard.len()], vec![0.0; hard.len()]);
        let total0 = target(none, sample.index, &mut r0);
        let total1 = target(all, sample.index, &mut r1);
        let mix = |a: f64, b: f64| (1.0 - smoothing) * a + smoothing * b;
        let entries = soft.iter_mut().zip(hard).zip(sample.softmax);
        for (((soft, hard), p), (r0, r1)) in entries.zip(r0.iter().zip(&r1)) {
            *soft = mix(total0, total1) * p;
            *hard = mix(*r0, *r1);
        }
    }
}

fn words(evidence: &Evidence, smoothing: f64, declared: f64) -> Words {
    let (name, text) = (evidence.name(), number(smoothing));
    let found = if smoothing == 0.0 {
        "without label smoothing".to_owned()
    } else {
        format!("with label_smoothing={text}")
    };
    let expected = if declared == 0.0 {
        "none".to_owned()
    } else {
        format!("label_smoothing={declared}")
    };
    Words {
        message: format!("{name} is the gradient {found}, but the file declares {expected}"),
        correction: format!("compared with a smoothing of {text}"),
        fix: format!(
            "use the same label_smoothing on both sides: {declared} in the program, or \
             --label-smoothing {smoothing} here"
        ),
        ..Words::default()
    }
}
