//! Bugs in the targets: labels, ignored samples, class weights and smoothing.

use rand::RngExt;

use super::{
    losses::{by_hand, softmax},
    numbers::{Rng, pick, shuffled},
    program::SMOOTHINGS,
    work::Work,
};

/// Declares a loss that ignores some of its samples.
pub(crate) fn ignore(work: &mut Work, rng: &mut Rng) {
    work.declare(|program| {
        program.plain(rng);
        program.ignore_some(rng);
    });
}

/// Declares class weights. At least two classes must occur.
pub(crate) fn weigh(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.declare(|program| {
        program.plain(rng);
        program.loss.class_weight = Some(program.draw_class_weight(rng));
    });
    let target = &work.file.target;
    target.iter().any(|label| *label != target[0]).then_some(())
}

/// Clamps the ignored labels into range, or leaves the rows' probabilities without a one-hot
/// target. The mean is over all rows.
pub(crate) fn ignored_rows_not_masked(work: &mut Work, rng: &mut Rng) -> Option<()> {
    ignore(work, rng);
    if rng.random_bool(0.5) {
        work.note("labels clamped");
        let labels = work.program().target.iter_mut();
        labels.for_each(|label| *label = (*label).max(0));
    } else {
        work.note("probabilities alone");
        let n = work.file.shape.0 as f64;
        let divisor = work.file.is_mean().then_some(n);
        work.program().divisor = divisor;
        work.program().backward = by_hand(softmax, true, false);
    }
    Some(())
}

pub(crate) fn class_weights_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    weigh(work, rng)?;
    work.program().loss.class_weight = None;
    Some(())
}

pub(crate) fn wrong_labels(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    let (n, _, k) = work.file.shape;
    let count = rng.random_range(1..=(n / 10).max(1));
    let mut rows = shuffled(rng, n)[..count].to_vec();
    rows.sort_unstable();
    for &j in &rows {
        let label = &mut work.program().target[j];
        *label = (*label + rng.random_range(1..k as i64)) % k as i64;
    }
    work.note(format_args!("labels of rows {rows:?}"));
    work.touched.rows = Some(rows);
    Some(())
}

/// Shifts all labels: cyclically or, if they count from 1, up to the last class.
pub(crate) fn labels_shifted(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    let k = work.file.shape.2 as i64;
    let (name, shift): (_, &dyn Fn(i64) -> i64) = match rng.random_range(0..3) {
        0 => ("y + 1", &|y| (y + 1) % k),
        1 => ("y - 1", &|y| (y + k - 1) % k),
        _ if k > 2 => ("y + 1, clamped", &|y| (y + 1).min(k - 1)),
        _ => return None,
    };
    work.note(name);
    work.program()
        .target
        .iter_mut()
        .for_each(|y| *y = shift(*y));
    Some(())
}

pub(crate) fn label_smoothing_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    work.declare(|program| program.loss.label_smoothing = pick(rng, &SMOOTHINGS));
    work.program().loss.label_smoothing = 0.0;
    Some(())
}
