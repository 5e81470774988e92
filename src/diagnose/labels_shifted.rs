//! `labels-shifted`: every label off by one.

use super::{
    evidence::{Evidence, cross_entropy},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::report::Code;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let k = evidence.problem.k();
    let shifts = [(true, false), (false, false), (true, true), (false, true)];
    let (after, up) = shifts.into_iter().find_map(|(up, clamped)| {
        let after = evidence.explains(pair, &evidence.layer, &|sample, soft, hard| {
            cross_entropy(sample, soft, hard);
            let (from, to) = if up { (k - 1, 0) } else { (0, k - 1) };
            let last = hard[from];
            if up {
                hard.rotate_right(1)
            } else {
                hard.rotate_left(1)
            }
            // What would leave the classes comes in on the other side, or stays.
            if clamped {
                hard[to] = 0.0;
                hard[from] += last;
            }
        })?;
        Some((after, up))
    })?;
    let name = evidence.name();
    let (label, why) = match up {
        true if k == 2 => (
            "1 - y",
            "classes that the two sides name the other way round",
        ),
        true => (
            "y + 1",
            "labels that count from 1 in the program that made it, or a background class in front",
        ),
        false => (
            "y - 1",
            "labels that count from 1 in the file, and from 0 in the program that made it",
        ),
    };
    Some(
        Hypothesis::new(
            Code::LabelsShifted,
            after,
            format!("compared with the labels {label}"),
            format!(
                "{name} is the gradient for labels {label} in place of y: labels are off by one"
            ),
            format!(
                "give both sides the same labels, 0 to {}: look for {why}",
                k - 1
            ),
        )
        .evidence("shift", if up { 1.0 } else { -1.0 }),
    )
}
