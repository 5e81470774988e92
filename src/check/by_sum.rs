//! The check of a gradient that is a sum over the samples. It is compared once all samples are
//! evaluated.

use std::ops::Range;

use super::{Compared, Listener, comparator::Comparator, likeness::Close};
use crate::{
    budget,
    cpu::{logits::logits, ordered::fold_parts, outer::outer},
    device::Device,
    engine::{Bounds, Engine, Evaluation},
    error::Result,
    loss::{NO_LABEL, TargetRows},
    plan::Plan,
    problem::{Problem, Wrt},
    report::{ComparedOn, Tally},
    rounding::{Common, RoundingModel, SampleSum},
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
    let Some((evaluation, backward)) =
        evaluate_all(comparator, gradient.is_none(), device, listener)?
    else {
        return Ok(None);
    };
    let analytic = gradient.map_or(backward, Tensor::values);
    let terms = Terms::new(comparator);
    let compared = comparator.compare_sums(evaluation, &terms, &analytic, listener)?;
    Ok(Some(compared))
}

/// Sums the derivative over the problem's samples, and the backward pass if `backward` is set.
/// Returns `None` if the listener interrupts.
pub(super) fn evaluate_all(
    comparator: &Comparator<'_>,
    backward: bool,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<(Evaluation, Vec<f64>)>> {
    let problem = comparator.problem;
    let mut engine = device.engine(problem, comparator.plan)?;
    let mut sums: Option<(Evaluation, Vec<f64>)> = None;
    for rows in budget::calls(problem.n(), engine.rows_per_call(), 1) {
        if listener.is_interrupted() {
            return Ok(None);
        }
        let done = rows.end as f64 / problem.n() as f64;
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
    let (mut evaluation, backward) = sums.unwrap_or_default();
    evaluation.differentiate(&comparator.plan);
    Ok(Some((evaluation, backward)))
}

/// Sums over the samples behind the errors that they share, [k·m] each, and the weights of these
/// errors.
pub(super) struct Terms {
    pub(super) common: Common,
    /// The sum of r dz/dx.
    pub(super) targets: Vec<f64>,
    /// The sum of R dz/dx where the class has the largest logit; 0 if it has no weight.
    pub(super) at_max: Vec<f64>,
    /// The sums of R dp dz/dx, for each of two forms of dp; 0 unless samples are close.
    pub(super) lost: [Vec<f64>; 2],
}

impl Terms {
    pub(super) fn new(comparator: &Comparator<'_>) -> Self {
        let (problem, plan) = (comparator.problem, &comparator.plan);
        let close = comparator.likeness.close();
        let common = Common::new(problem, plan, close.map(|close| close.minus_log));
        let targets = target_sums(problem, plan.wrt);
        let zeros = || vec![0.0; targets.len()];
        Self {
            at_max: match common.at_max {
                0.0 => zeros(),
                _ => max_sums(problem, plan),
            },
            lost: match close {
                Some(close) => lost_sums(problem, plan, &close),
                None => [zeros(), zeros()],
            },
            targets,
            common,
        }
    }
}

impl Comparator<'_> {
    /// Compares a gradient, [k·m], with the sums over all samples.
    pub(super) fn compare_sums(
        &self,
        mut evaluation: Evaluation,
        terms: &Terms,
        analytic: &[f64],
        listener: &mut dyn Listener,
    ) -> Result<Compared> {
        self.condition_sum(&mut evaluation, terms);
        let m = self.columns();
        let rows = |rows: Range<usize>, values: &mut Vec<f64>| {
            *values = analytic[rows.start * m..rows.end * m].to_vec();
        };
        let mut tally = Tally::default();
        let all = 0..self.problem.k();
        let numeric = self.frame().compare(&mut tally, all, &evaluation, &rows);
        if self.keeps_numeric {
            listener.numeric(&numeric)?;
        }
        Ok(Compared {
            tally,
            rows: self.problem.k(),
            on: ComparedOn::Host,
        })
    }

    /// Replaces the conditioning by that of the sums over all samples.
    fn condition_sum(&self, evaluation: &mut Evaluation, terms: &Terms) {
        let (problem, plan) = (self.problem, &self.plan);
        let multiplicity = self.likeness.multiplicity;
        let sum = SampleSum::new(problem, plan, &self.tolerance, &self.noise, multiplicity);
        let Terms {
            common,
            targets,
            at_max,
            lost: [by_logit, by_lse],
        } = terms;
        let entries = evaluation.derivative().iter().zip(targets).enumerate();
        let of_entry = |(entry, (derivative, target)): (usize, (&f64, &f64))| {
            // The derivative is sum_j (R p - r) dz/dx.
            let softmax = (derivative + target).abs();
            let peak = evaluation.bounds.peak[entry];
            let lost = by_logit[entry].abs() + by_lse[entry].abs();
            let rounded = sum.swamped(softmax, peak) + sum.one_sided(*derivative, peak);
            common.soft[entry / self.columns()] * softmax
                + common.hard * target.abs()
                + common.at_max * at_max[entry].abs()
                + (lost + rounded) / self.tolerance.rounding
        };
        let common: Vec<f64> = entries.map(of_entry).collect();
        let Bounds {
            conditioning,
            squares,
            peak,
            magnitude,
            tolerated,
            ..
        } = &mut evaluation.bounds;
        *tolerated = sum.condition(conditioning, [squares, peak, magnitude], &common);
    }
}

/// Samples whose targets are read at a time. Chosen.
const STRIP: usize = 64;

/// Returns the sum over the samples of r dz/dx, [k·m].
fn target_sums(problem: &Problem, wrt: Wrt) -> Vec<f64> {
    let (k, m) = (problem.k(), problem.columns(wrt));
    sums(problem, wrt, |sums, targets, _, slopes| {
        if let Some(linear) = &targets.linear {
            let part = outer(linear, slopes, k, m);
            sums.iter_mut().zip(part).for_each(|(sum, v)| *sum -= v);
        }
        let rows = targets.labels.iter().zip(&targets.totals);
        for ((&label, total), slopes) in rows.zip(slopes.chunks_exact(m)) {
            if label != NO_LABEL {
                let terms = sums[label as usize * m..].iter_mut().zip(slopes);
                terms.for_each(|(sum, slope)| *sum += total * slope);
            }
        }
    })
}

/// Returns the sum of R dz/dx over the samples in which the class has the largest logit, or may
/// have it, in view of the errors of the logits, [k·m].
fn max_sums(problem: &Problem, plan: &Plan) -> Vec<f64> {
    let (weight, bias): (Vec<f64>, Vec<f64>) = (problem.weight().values(), problem.bias());
    let model = RoundingModel::of_gradient(problem, plan);
    let (k, m) = (problem.k(), problem.columns(plan.wrt));
    sums(problem, plan.wrt, |sums, targets, input, slopes| {
        let forward = logits(input, &weight, &bias, problem.d());
        let logits = forward.logits.chunks_exact(k);
        let rows = logits.zip(forward.magnitude.chunks_exact(k));
        let mut is_largest = vec![0.0; forward.logits.len()];
        let places = is_largest.chunks_exact_mut(k);
        for (((z, a), places), total) in rows.zip(places).zip(&targets.totals) {
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let errors = z.iter().zip(a).map(|(&z, &a)| model.logit_error(z, a));
            let ties = model.ties(errors.fold(0.0, f64::max));
            for (place, z) in places.iter_mut().zip(z) {
                *place = if largest - z <= ties { *total } else { 0.0 };
            }
        }
        let part = outer(&is_largest, slopes, k, m);
        sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
    })
}

/// Returns the sums of R dp dz/dx over the samples, [k·m], for samples that are close: dp is the
/// rounding error of p if its sign is that of the deviation from the mean of the samples, of the
/// logit, and of logsumexp.
///
/// If all samples' logits, or log p, lie about the middle of two neighbouring numbers, they round
/// up or down as input · weight, or logsumexp, is above or below its mean. The errors then depend
/// on the input as the terms of the gradient do, and do not average out.
fn lost_sums(problem: &Problem, plan: &Plan, close: &Close<'_>) -> [Vec<f64>; 2] {
    let (weight, bias): (Vec<f64>, Vec<f64>) = (problem.weight().values(), problem.bias());
    let model = RoundingModel::of_gradient(problem, plan);
    let (k, m) = (problem.k(), problem.columns(plan.wrt));
    let of = |is_by_lse: bool| {
        sums(problem, plan.wrt, |sums, targets, input, slopes| {
            let forward = logits(input, &weight, &bias, problem.d());
            let mut lost = forward.logits;
            let rows = lost.chunks_exact_mut(k);
            let rows = rows.zip(forward.magnitude.chunks_exact(k));
            for ((z, a), total) in rows.zip(&targets.totals) {
                let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let lse = largest + z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
                for ((z, &a), mean) in z.iter_mut().zip(a).zip(close.mean_logits) {
                    let log_p = *z - lse;
                    let (error, deviation) = if is_by_lse {
                        (log_p.abs() + 1.0, close.mean_lse - lse)
                    } else {
                        (model.logit_error(*z, a) + log_p.abs() + 1.0, *z - mean)
                    };
                    let error = model.unit_roundoff * error.copysign(deviation);
                    *z = total * log_p.exp() * error;
                }
            }
            let part = outer(&lost, slopes, k, m);
            sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
        })
    };
    [of(false), of(true)]
}

/// Sums over the samples, [k·m]. `add` takes the sums, and the targets, the input and dz/dx of a
/// few samples.
fn sums(
    problem: &Problem,
    wrt: Wrt,
    add: impl Fn(&mut [f64], &TargetRows<f64>, &[f64], &[f64]) + Sync,
) -> Vec<f64> {
    let empty = vec![0.0; problem.k() * problem.columns(wrt)];
    let part = |rows: Range<usize>| {
        let mut sums = empty.clone();
        for start in rows.clone().step_by(STRIP) {
            let strip = start..rows.end.min(start + STRIP);
            let targets = problem.target_rows(strip.clone());
            let input = problem.input().rows::<f64>(strip.clone());
            let ones = vec![1.0; strip.len()];
            let slopes = if wrt == Wrt::Bias { &ones } else { &input };
            add(&mut sums, &targets, &input, slopes);
        }
        sums
    };
    let merge = |mut sums: Vec<f64>, part: Vec<f64>| {
        sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
        sums
    };
    fold_parts(0..problem.n(), 1, part, empty.clone(), merge)
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
