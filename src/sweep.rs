//! Measures the error of the numeric gradient over a range of steps, by both methods. The result
//! shows where truncation ends and where noise begins.

use std::ops::RangeInclusive;

use crate::{
    budget,
    check::{Subject, rel_err},
    device::Device,
    engine::{Evaluation, Losses, Values},
    error::{Error, Result},
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Dtype,
};

pub use crate::budget::SWEEP_WORK as WORK;

/// Smallest error that counts as a wrong gradient: in f32, the mean relative error of a right one
/// was measured at up to 1e-4 (November 2026).
const LEAST_ERROR: f64 = 1e-3;
/// Least part of the steps, in quarters, at which the error must be the same. Chosen: truncation
/// may show at the largest steps.
const MOST_OF: usize = 2;
/// Fewest steps that show a trend. Chosen.
const LEAST_POINTS: usize = 3;
/// Largest change of the error from step to step that counts as none. Chosen.
const FLAT: f64 = 1.1;

/// The steps that a sweep may cover. Chosen.
const STEPS: RangeInclusive<f64> = 1e-12..=10.0;

/// The errors at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The step.
    pub eps: f64,
    /// The mean relative error between the gradient and `difference`.
    pub difference: f64,
    /// The norm of the error between the gradient and `difference`, over that of the latter.
    pub distance: f64,
    /// The mean relative error between the gradient and `forward-pass`.
    pub forward_pass: f64,
    /// The mean relative error of `forward-pass` that rounding of the losses alone explains.
    pub floor: f64,
    /// The median of |L(x + eps) - L(x - eps)| in units in the last place of the loss.
    pub units: f64,
    /// True if each of these loss differences is a whole number of units.
    pub whole: bool,
}

/// The errors at a sequence of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The variable that the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The arithmetic in which losses are computed.
    pub precision: Precision,
    /// The number of leading samples whose losses are computed; all of them for a parameter.
    pub rows: usize,
    /// The points, from the largest step to the smallest.
    pub points: Vec<Point>,
}

impl Sweep {
    /// Returns the point at which forward passes have the smallest error.
    pub fn best(&self) -> Option<&Point> {
        self.points
            .iter()
            .min_by(|a, b| a.forward_pass.total_cmp(&b.forward_pass))
    }

    /// Returns the largest step at which forward passes yield noise: half of the loss differences
    /// are under four units in the last place.
    pub fn noise(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.units < 4.0)
    }
}

impl Sweep {
    /// Returns the conclusion if the error does not depend on the step: then the gradient is wrong,
    /// because truncation falls with the step. Returns `None` otherwise.
    ///
    /// Only `difference` is examined: forward passes have noise at small steps. The norm of the
    /// error must not be small: entries near zero, as in a saturated softmax, are rounding.
    pub fn conclusion(&self) -> Option<String> {
        let last = self.points.last()?;
        let error = last.difference;
        if !(error.min(last.distance) > LEAST_ERROR) || self.points.len() < LEAST_POINTS {
            return None;
        }
        let is_same = |point: &&Point| (1.0 / FLAT..FLAT).contains(&(point.difference / error));
        let same = self.points.iter().rev().take_while(is_same).count();
        let flat = &self.points[self.points.len() - same..];
        let steps = match same {
            _ if same == self.points.len() => "at every step".to_owned(),
            _ if same >= MOST_OF * self.points.len() / 4 => {
                format!("at eps = {:.0e} and below", flat[0].eps)
            }
            _ => return None,
        };
        Some(format!(
            "The error is {} {steps}: the gradient is wrong, not the step.",
            rounded(error)
        ))
    }
}

/// Formats an error with two digits.
fn rounded(error: f64) -> String {
    if error < 0.01 {
        format!("{error:.1e}")
    } else {
        format!("{error:.2}")
    }
}

/// Runs a sweep over so few rows that it takes no noticeable time: in f64 for an f64 gradient, else
/// in f32.
///
/// Returns `None` if a single row, or for a parameter the sum over all rows, is too slow.
///
/// # Errors
/// Those of [`sweep`].
pub fn glance(problem: &Problem, subject: &Subject) -> Result<Option<Sweep>> {
    let is_quick = least_work(problem, subject.wrt) <= budget::GLANCE_ROW_WORK as f64;
    if !is_quick || !is_affordable(problem, subject.wrt, budget::GLANCE_WORK) {
        return Ok(None);
    }
    let precision = if subject.dtype(problem) == Some(Dtype::F64) {
        Precision::F64
    } else {
        Precision::F32
    };
    let (steps, device) = ((1.0, 1e-8), Device::Cpu { note: None });
    let work = budget::GLANCE_WORK;
    sweep(problem, subject, precision, steps, work, &device).map(Some)
}

/// Returns the multiply-adds per step of the smallest sweep: of one row, or of all rows for a
/// parameter, whose gradient is a sum over them.
fn least_work(problem: &Problem, wrt: Wrt) -> f64 {
    let entries = problem.k() as f64 * problem.columns(wrt) as f64;
    match wrt {
        Wrt::Input => 2.0 * entries * problem.d() as f64,
        Wrt::Logits => 2.0 * entries,
        Wrt::Weight | Wrt::Bias => 2.0 * entries * problem.n() as f64 * problem.k() as f64,
    }
}

/// Returns true if a sweep with respect to `wrt` takes at most `work` multiply-adds per step, or
/// can be limited to fewer rows.
fn is_affordable(problem: &Problem, wrt: Wrt, work: usize) -> bool {
    !wrt.is_parameter() || least_work(problem, wrt) <= work as f64
}

/// Returns the reason to leave out the sweep with respect to `wrt`, if it takes more than
/// [`WORK`] and is none of those that were asked for.
pub fn reason_to_skip(problem: &Problem, wrt: Wrt, is_asked: bool) -> Option<String> {
    let is_skipped = !is_asked && !is_affordable(problem, wrt, WORK);
    let (name, time) = (wrt.grad_name(), time_per_step(problem, wrt));
    is_skipped.then(|| format!("{name} is not swept: each step needs all samples, {time}"))
}

/// Returns the time of a step over all samples, in words.
fn time_per_step(problem: &Problem, wrt: Wrt) -> String {
    // WORK takes about 1 s.
    let seconds = least_work(problem, wrt) / WORK as f64;
    match seconds.ceil() {
        seconds if seconds < 120.0 => format!("about {seconds} s"),
        seconds if seconds < 7200.0 => format!("about {:.0} min", seconds / 60.0),
        seconds => format!("about {:.0} h", seconds / 3600.0),
    }
}

/// Sweeps the powers of ten from `from` down to `to`, over as many leading rows as `work`
/// multiply-adds per step allow. A parameter's gradient is a sum over the samples, so its sweep
/// takes all of them.
///
/// # Errors
/// [`Error::Setting`] for steps out of range or a parameter whose sweep takes more work,
/// [`Error::Gpu`] if the device's driver reports a fault.
pub fn sweep(
    problem: &Problem,
    subject: &Subject,
    precision: Precision,
    (from, to): (f64, f64),
    work: usize,
    device: &Device,
) -> Result<Sweep> {
    let wrt = subject.wrt;
    let (first, last) = exponents(from, to)?;
    subject.validate(problem)?;
    if !is_affordable(problem, wrt, work) {
        return Err(Error::Setting {
            name: "--wrt",
            found: wrt.name().to_owned(),
            expected: format!(
                "each step of its sweep needs all {} samples, {}: sweep fewer samples and classes",
                problem.n(),
                time_per_step(problem, wrt)
            ),
        });
    }
    let rows = if wrt.is_parameter() {
        problem.n()
    } else {
        (work as f64 / least_work(problem, wrt)).clamp(1.0, problem.n() as f64) as usize
    };
    let fallback = device.fallback(precision, Method::ForwardPass, &[wrt]);
    let device = fallback.as_ref().unwrap_or(device);
    let point = |i: i32| {
        let eps = 10f64.powi(first - i);
        let by = |method| {
            let derivative = Differentiation::from(wrt).by(method);
            let plan = Plan::new(problem, derivative, Some(eps), precision);
            Differences::new(problem, subject, plan, rows, device)
        };
        let (difference, forward_pass) = (by(Method::Difference)?, by(Method::ForwardPass)?);
        Ok(Point::new(
            eps,
            problem,
            precision,
            &difference,
            &forward_pass,
        ))
    };
    Ok(Sweep {
        wrt,
        precision,
        rows,
        points: (0..=first - last).map(point).collect::<Result<_>>()?,
    })
}

/// Returns the exponents of the largest and the smallest power of ten between two steps. A step
/// that is itself a power of ten is included, however it was rounded.
fn exponents(from: f64, to: f64) -> Result<(i32, i32)> {
    let refused = |expected: &str| {
        Err(Error::Setting {
            name: "--eps-from",
            found: format!("{from:e} and --eps-to {to:e}"),
            expected: expected.to_owned(),
        })
    };
    if !STEPS.contains(&to) || !(to..=*STEPS.end()).contains(&from) {
        return refused("steps must lie between 1e-12 and 10, and --eps-from must be the larger");
    }
    let first = (from.log10() + 1e-9).floor() as i32;
    let last = (to.log10() - 1e-9).ceil() as i32;
    if first < last {
        return refused("no power of ten lies between them");
    }
    Ok((first, last))
}

/// A gradient and its numeric counterpart over the first samples. For a parameter, m counts all of
/// its entries, and there is one row.
#[derive(Default)]
struct Differences {
    /// The losses, one vector [rows·m] per step of the plan; empty for `difference`.
    losses: Vec<Vec<f64>>,
    /// The gradient under test, [rows·m].
    analytic: Vec<f64>,
    /// The numeric gradient, [rows·m].
    numeric: Vec<f64>,
}

impl Differences {
    fn new(
        problem: &Problem,
        subject: &Subject,
        plan: Plan,
        rows: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut engine = device.engine(problem, plan)?;
        let block = budget::block_rows(problem, plan.derivative());
        let is_sum = subject.wrt.is_parameter();
        let mut differences = Self::default();
        let mut sum: Option<Evaluation> = None;
        for rows in budget::calls(rows, engine.rows_per_call(), block) {
            let evaluation = engine.evaluate(rows.clone())?;
            let analytic = match &subject.gradient {
                Some(_) if is_sum => Vec::new(),
                Some(gradient) => gradient.rows(rows),
                None => engine.backward(rows)?,
            };
            if is_sum {
                sum = Some(match sum {
                    None => evaluation,
                    Some(sum) => sum.add(evaluation),
                });
                differences.analytic.resize(analytic.len(), 0.0);
                let pairs = differences.analytic.iter_mut().zip(analytic);
                pairs.for_each(|(sum, part)| *sum += part);
            } else {
                differences.analytic.extend(analytic);
                differences.add(evaluation, &plan, problem);
            }
        }
        if let Some(mut sum) = sum {
            // A program rounds the loss of the whole batch.
            if let Values::Losses(Losses {
                at_steps, dropped, ..
            }) = &mut sum.values
            {
                let losses = at_steps.iter_mut().flatten();
                losses.for_each(|loss| *loss = plan.precision.round(*loss));
                dropped.clear();
            }
            differences.add(sum, &plan, problem);
            if let Some(gradient) = &subject.gradient {
                differences.analytic = gradient.values();
            }
        }
        Ok(differences)
    }

    /// Adds the losses and the numeric gradient of an evaluation.
    fn add(&mut self, evaluation: Evaluation, plan: &Plan, problem: &Problem) {
        if let Values::Losses(losses) = &evaluation.values {
            self.losses.resize(losses.at_steps.len(), Vec::new());
            let steps = self.losses.iter_mut().zip(&losses.at_steps);
            steps.for_each(|(all, losses)| all.extend(losses));
        }
        let numeric = evaluation.numeric(plan, problem.normalizer());
        self.numeric.extend(numeric);
    }

    /// Returns ‖analytic - numeric‖/‖numeric‖; infinite or NaN if the latter is zero.
    fn distance(&self) -> f64 {
        let pairs = self.analytic.iter().zip(&self.numeric);
        let squares = pairs.map(|(analytic, numeric)| (analytic - numeric).powi(2));
        let of_numeric = self.numeric.iter().map(|numeric| numeric.powi(2));
        (squares.sum::<f64>() / of_numeric.sum::<f64>()).sqrt()
    }

    fn mean_rel_err(&self) -> f64 {
        let pairs = self.analytic.iter().zip(&self.numeric);
        let errors = pairs.map(|(&analytic, &numeric)| rel_err(analytic, numeric));
        errors.sum::<f64>() / self.analytic.len() as f64
    }
}

impl Point {
    fn new(
        eps: f64,
        problem: &Problem,
        precision: Precision,
        difference: &Differences,
        forward_pass: &Differences,
    ) -> Self {
        let [above, below] = forward_pass.losses.as_slice() else {
            unreachable!("a central difference has two terms")
        };
        let pairs = above.iter().zip(below);
        let units = pairs.map(|(above, below)| units_between(*above, *below, precision));
        let units: Vec<f64> = units.collect();
        let floor = |(above, numeric): (&f64, &f64)| {
            // Two roundings, each uniform within half a unit.
            let error = unit(*above, precision) * (2.0f64 / 12.0).sqrt()
                / (2.0 * eps * problem.normalizer());
            (error / numeric.abs()).min(1.0)
        };
        let floors = above.iter().zip(&difference.numeric).map(floor);
        Self {
            eps,
            difference: difference.mean_rel_err(),
            distance: difference.distance(),
            forward_pass: forward_pass.mean_rel_err(),
            floor: floors.sum::<f64>() / above.len() as f64,
            whole: units.iter().all(|units| units.fract() == 0.0),
            units: median(units),
        }
    }
}

/// Returns the unit in the last place of `value`.
fn unit(value: f64, precision: Precision) -> f64 {
    2.0 * precision.unit_roundoff()
        * value
            .abs()
            .max(precision.smallest_normal())
            .log2()
            .floor()
            .exp2()
}

/// Returns |a - b| in units in the last place of the smaller value. Both values are whole multiples
/// of that unit.
fn units_between(a: f64, b: f64, precision: Precision) -> f64 {
    (a - b).abs() / unit(if a.abs() < b.abs() { a } else { b }, precision)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a sweep from a step of 1 down, with these errors by `difference`.
    fn with_errors(errors: &[f64]) -> Sweep {
        let point = |(i, &error): (usize, &f64)| Point {
            eps: 10f64.powi(-(i as i32)),
            difference: error,
            distance: 1.0,
            forward_pass: error,
            floor: 1e-8,
            units: 10.0,
            whole: false,
        };
        Sweep {
            wrt: Wrt::Input,
            precision: Precision::F32,
            rows: 10,
            points: errors.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn a_flat_error_belongs_to_the_gradient() {
        let conclusion = |errors: &[f64]| with_errors(errors).conclusion().unwrap_or_default();
        let flat = conclusion(&[0.94, 0.93, 0.93, 0.93, 0.93, 0.93]);
        assert!(flat.starts_with("The error is 0.93 at every step: the gradient is wrong"));
        let later = conclusion(&[0.4, 0.03, 0.011, 0.0101, 0.01, 0.01]);
        assert!(
            later.starts_with("The error is 0.01 at eps = 1e-2 and below:"),
            "{later}"
        );
        // A right gradient, and one whose error still falls at the last step.
        assert_eq!(conclusion(&[1e-1, 1e-3, 1e-5, 1e-6, 1e-6, 1e-6]), "");
        assert_eq!(conclusion(&[1.0, 0.9, 0.5, 0.1, 0.02, 0.004]), "");
    }

    #[test]
    fn differences_of_f32_losses_are_whole_numbers_of_units() {
        let a = f64::from(0.712_5f32);
        let b = f64::from(0.712_5f32.next_down().next_down());
        assert_eq!(units_between(a, b, Precision::F32), 2.0);
        assert_eq!(unit(0.7, Precision::F32), 2f64.powi(-24));
        assert!(units_between(0.7, 0.700_000_01, Precision::F32).fract() != 0.0);
    }
}
