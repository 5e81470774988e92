//! `labels-shifted`: every label is off by one.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::Hypothesis,
        losses::{Datum, cross_entropy},
        pair::Pair,
        words::Words,
    },
    report::Code,
};

/// A shift of all labels by one.
#[derive(Clone, Copy)]
struct Shift {
    /// By +1, else by -1.
    up: bool,
    /// True if a label shifted past the last or first class is clamped, false if it wraps around.
    clamped: bool,
}

#[rustfmt::skip]
const SHIFTS: [Shift; 4] = [
    Shift { up: true, clamped: false },
    Shift { up: false, clamped: false },
    Shift { up: true, clamped: true },
    Shift { up: false, clamped: true },
];

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let k = evidence.problem.k();
    let (after, shift) = SHIFTS.into_iter().find_map(|shift| {
        let after = evidence.explains(pair, &evidence.layer, &shifted(shift, k))?;
        Some((after, shift))
    })?;
    let words = words(evidence, shift.up);
    Some(
        Hypothesis::new(Code::LabelsShifted, after, words)
            .evidence("shift", if shift.up { 1.0 } else { -1.0 }),
    )
}

fn shifted(Shift { up, clamped }: Shift, k: usize) -> impl Fn(&Datum, &mut [f64], &mut [f64]) {
    move |sample, soft, hard| {
        cross_entropy(sample, soft, hard);
        let (from, to) = if up { (k - 1, 0) } else { (0, k - 1) };
        let last = hard[from];
        if up {
            hard.rotate_right(1)
        } else {
            hard.rotate_left(1)
        }
        if clamped {
            hard[to] = 0.0;
            hard[from] += last;
        }
    }
}

fn words(evidence: &Evidence, up: bool) -> Words {
    let (name, k) = (evidence.name(), evidence.problem.k());
    let (label, why) = match (up, k) {
        (true, 2) => ("1 - y", "classes in the opposite order on the two sides"),
        (true, _) => (
            "y + 1",
            "labels that start at 1 in the program, or a background class in front",
        ),
        (false, _) => (
            "y - 1",
            "labels that start at 1 in the file and at 0 in the program",
        ),
    };
    Words {
        message: format!(
            "{name} is the gradient for labels {label} instead of y: the labels are off by one"
        ),
        correction: format!("compared with the labels {label}"),
        fix: format!(
            "use the same labels on both sides, 0 to {}: look for {why}",
            k - 1
        ),
        ..Words::default()
    }
}
