//! The check of a gradient that is a sum over the samples. It is compared once all samples are
//! evaluated.

use std::ops::Range;

use super::{Compared, Listener, compare::Comparator};
use crate::{
    budget,
    device::Device,
    engine::{Engine, Evaluation},
    error::Result,
    report::{ComparedOn, Tally},
    tensor::Tensor,
};

/// Compares `gradient`, or the engine's own backward pass, with the numeric gradient. Returns
/// `None` if the listener interrupts.
pub(super) fn tally(
    comparator: &Comparator<'_>,
    gradient: Option<&Tensor>,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<Compared>> {
    let (problem, m) = (comparator.problem, comparator.columns());
    let mut engine = device.engine(problem, comparator.plan)?;
    let mut sums: Option<(Evaluation, Vec<f64>)> = None;
    for rows in budget::calls(problem.n(), engine.rows_per_call(), 1) {
        if listener.is_interrupted() {
            return Ok(None);
        }
        let done = rows.end as f64 / problem.n() as f64;
        let backward = gradient.is_none();
        let part = evaluate(comparator, engine.as_mut(), rows, backward, listener)?;
        let Some((evaluation, analytic)) = part else {
            return Ok(None);
        };
        sums = Some(match sums {
            None => (evaluation, analytic),
            Some((sum, mut sum_analytic)) => {
                let pairs = sum_analytic.iter_mut().zip(analytic);
                pairs.for_each(|(sum, part)| *sum += part);
                (sum.add(evaluation), sum_analytic)
            }
        });
        progress(comparator, done, listener);
    }
    let (evaluation, backward) = sums.unwrap_or_default();
    let analytic = gradient.map_or(backward, Tensor::values);
    let rows = |rows: Range<usize>, values: &mut Vec<f64>| {
        *values = analytic[rows.start * m..rows.end * m].to_vec();
    };
    let mut tally = Tally::default();
    let numeric = comparator.compare(&mut tally, 0..problem.k(), &evaluation, &rows);
    if comparator.keeps_numeric {
        listener.numeric(&numeric)?;
    }
    Ok(Some(Compared {
        tally,
        rows: problem.k(),
        on: ComparedOn::Host,
    }))
}

/// Evaluates a range of samples, and computes their backward pass if `backward` is set. Returns
/// `None` if the listener interrupts.
fn evaluate(
    comparator: &Comparator<'_>,
    engine: &mut dyn Engine,
    rows: Range<usize>,
    backward: bool,
    listener: &mut dyn Listener,
) -> Result<Option<(Evaluation, Vec<f64>)>> {
    let evaluation = if engine.splits_rows() {
        let mut keep_going = |share: f64| {
            let done = (rows.start as f64 + share) / comparator.problem.n() as f64;
            progress(comparator, done, listener);
            !listener.is_interrupted()
        };
        match engine.evaluate_in_parts(rows.start, &mut keep_going) {
            Some(evaluation) => evaluation,
            None => return Ok(None),
        }
    } else {
        engine.evaluate(rows.clone())?
    };
    let analytic = if backward {
        engine.backward(rows)?
    } else {
        Vec::new()
    };
    Ok(Some((evaluation, analytic)))
}

/// Reports the share of the entries that is done, as if they were computed one after the other.
fn progress(comparator: &Comparator<'_>, done: f64, listener: &mut dyn Listener) {
    let entries = (comparator.problem.k() * comparator.columns()) as u64;
    listener.progress((done * entries as f64) as u64, entries);
}
