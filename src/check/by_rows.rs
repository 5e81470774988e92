//! The check of a gradient with one row per sample: rows are compared as they are evaluated.

use std::ops::Range;

use super::{Compared, Listener, comparator::Comparator, on_device, options::CompareOn};
use crate::{
    budget,
    device::Device,
    engine::{Engine, RowSource},
    error::Result,
    report::{ComparedOn, Tally},
    scheme::{Method, Precision},
    tensor::{Dtype, Tensor},
};

/// Compares `gradient`, or the engine's own backward pass, with the numeric gradient. Returns
/// `None` if the listener interrupts before the first row.
pub(super) fn tally(
    comparator: &Comparator<'_>,
    gradient: Option<&Tensor>,
    compare: CompareOn,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<Compared>> {
    let mut tally = Tally::default();
    let given = gradient.filter(|gradient| is_on_device(comparator, gradient, compare, device));
    let on_device = match given {
        Some(gradient) => compare_on_device(comparator, gradient, device, &mut tally, listener)?,
        None => None,
    };
    let (mut engine, first) = match on_device {
        Some(compared) => compared,
        None => (device.engine(comparator.problem, comparator.plan)?, 0),
    };
    let rows = compare_on_host(
        comparator,
        gradient,
        engine.as_mut(),
        first,
        &mut tally,
        listener,
    )?;
    let on = if first > 0 {
        ComparedOn::Device
    } else {
        ComparedOn::Host
    };
    Ok((rows > 0).then_some(Compared { tally, rows, on }))
}

/// Returns true if the gradient can be compared on the device, and the setting asks for it.
fn is_on_device(
    comparator: &Comparator<'_>,
    gradient: &Tensor,
    compare: CompareOn,
    device: &Device,
) -> bool {
    let plan = &comparator.plan;
    let is_exact = gradient.dtype() != Dtype::F64 || plan.precision == Precision::F64;
    let entries = comparator.problem.n() * comparator.columns();
    is_exact
        && plan.method == Method::Difference
        && !comparator.picture
        && !comparator.keeps_numeric
        && compare.is_on(device, entries)
}

/// Compares leading rows on the device. Returns the engine and the number of rows that it compared,
/// or `None` if the device does not compare.
fn compare_on_device<'a>(
    comparator: &Comparator<'a>,
    gradient: &Tensor,
    device: &'a Device,
    tally: &mut Tally,
    listener: &mut dyn Listener,
) -> Result<Option<(Box<dyn Engine + 'a>, usize)>> {
    let (problem, plan) = (comparator.problem, comparator.plan);
    let engine = device.comparing_engine(problem, plan, &comparator.allowance())?;
    let Some(mut engine) = engine else {
        return Ok(None);
    };
    let name = device.info().name;
    let first = on_device::tally_rows(
        comparator,
        gradient,
        engine.as_mut(),
        &name,
        tally,
        listener,
    )?;
    let engine: Box<dyn Engine + 'a> = engine;
    Ok(Some((engine, first)))
}

/// Compares the rows from `first` on. Returns the number of all rows compared so far, which is less
/// than n if the listener interrupts.
fn compare_on_host(
    comparator: &Comparator<'_>,
    gradient: Option<&Tensor>,
    engine: &mut dyn Engine,
    first: usize,
    tally: &mut Tally,
    listener: &mut dyn Listener,
) -> Result<usize> {
    let (n, m) = (comparator.problem.n(), comparator.columns());
    let frame = comparator.frame();
    let calls = calls(comparator, engine.rows_per_call(), first);
    // With a backward pass between two calls, comparison and evaluation cannot overlap.
    let ahead = if gradient.is_some() {
        budget::CALLS_AHEAD
    } else {
        0
    };
    let mut upcoming = calls.iter();
    for rows in upcoming.by_ref().take(ahead) {
        engine.submit(rows.clone());
    }
    for rows in &calls {
        let start = rows.start;
        if listener.is_interrupted() {
            return Ok(start);
        }
        tracing::debug!("rows {start} to {}", rows.end - 1);
        let backward = match gradient {
            Some(_) => Vec::new(),
            None => engine.backward(rows.clone())?,
        };
        let analytic = |rows: Range<usize>, values: &mut Vec<f64>| match gradient {
            Some(gradient) => gradient.read(rows, values),
            None => *values = backward[(rows.start - start) * m..(rows.end - start) * m].to_vec(),
        };
        if let Some(next) = upcoming.next() {
            engine.submit(next.clone());
        }
        let mut keep_going = |share: f64| {
            let done = (start as f64 + share) * m as f64;
            listener.progress(done as u64, (n * m) as u64);
            !listener.is_interrupted()
        };
        let Some(source) = evaluation(engine, start, &mut keep_going)? else {
            return Ok(start);
        };
        let numeric = frame.compare(tally, rows.clone(), source.as_ref(), &analytic);
        if comparator.keeps_numeric {
            listener.numeric(&numeric)?;
        }
        listener.progress((rows.end * m) as u64, (n * m) as u64);
    }
    Ok(n)
}

/// Returns the rows of each call of the engine, from `first` on.
fn calls(comparator: &Comparator<'_>, rows_per_call: usize, first: usize) -> Vec<Range<usize>> {
    let most = if comparator.keeps_numeric {
        (budget::HELD_ENTRIES / comparator.columns()).max(1)
    } else {
        usize::MAX
    };
    let (problem, derivative) = (comparator.problem, comparator.plan.derivative());
    let block = budget::block_rows(problem, derivative);
    budget::calls(problem.n(), rows_per_call.min(most), block)
        .filter(|rows| rows.start >= first)
        .collect()
}

/// Collects the rows that were submitted first, or evaluates row `row` part by part if a row is too
/// slow for one call. Returns `None` once `keep_going` returns false.
fn evaluation<'e>(
    engine: &'e mut dyn Engine,
    row: usize,
    keep_going: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Box<dyn RowSource + 'e>>> {
    if engine.splits_rows() {
        let row = engine.evaluate_in_parts(row, keep_going);
        return Ok(row.map(|row| Box::new(row) as Box<dyn RowSource>));
    }
    engine.collect().map(Some)
}
