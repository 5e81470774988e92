//! Measures the error of the numeric gradient over a range of steps, by both methods. The result
//! shows where truncation ends and where noise begins.

use std::ops::RangeInclusive;

use crate::{
    budget,
    check::{Subject, rel_err},
    device::Device,
    engine::Values,
    error::{Error, Result},
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Dtype,
};

/// The steps that a sweep may cover. Chosen.
const STEPS: RangeInclusive<f64> = 1e-12..=10.0;

/// The errors at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The step.
    pub eps: f64,
    /// The mean relative error between the gradient and `difference`.
    pub difference: f64,
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
    /// The number of leading samples that the errors are averaged over.
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

/// Runs a sweep over so few rows that it takes no noticeable time: in f64 for an f64 gradient, else
/// in f32.
///
/// Returns `None` for a parameter, or if a single row is too slow.
///
/// # Errors
/// Those of [`sweep`].
pub fn glance(problem: &Problem, subject: &Subject) -> Result<Option<Sweep>> {
    let (k, m) = (problem.k(), problem.columns(subject.wrt));
    if subject.wrt.is_parameter() || 2 * k * m * problem.d().max(1) > budget::GLANCE_ROW_WORK {
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

/// Sweeps the powers of ten from `from` down to `to`, over as many leading rows as `work`
/// multiply-adds per step allow.
///
/// # Errors
/// [`Error::Setting`] for steps out of range or a parameter's gradient, [`Error::Gpu`] if the
/// device's driver reports a fault.
pub fn sweep(
    problem: &Problem,
    subject: &Subject,
    precision: Precision,
    (from, to): (f64, f64),
    work: usize,
    device: &Device,
) -> Result<Sweep> {
    let wrt = subject.wrt;
    if wrt.is_parameter() {
        let expected = "a sweep needs one row per sample: input or logits".to_owned();
        return Err(Error::Setting {
            name: "--wrt",
            found: wrt.name().to_owned(),
            expected,
        });
    }
    let (first, last) = exponents(from, to)?;
    subject.validate(problem)?;
    let (k, m) = (problem.k(), problem.columns(wrt));
    let slopes = if wrt == Wrt::Input { problem.d() } else { 1 };
    let rows = (work / (2 * k * m * slopes)).clamp(1, problem.n());
    let point = |i: i32| {
        let eps = 10f64.powi(first - i);
        let by = |method| {
            let derivative = Differentiation::from(wrt).by(method);
            let plan = Plan::new(problem, derivative, Some(eps), precision);
            LeadingRows::new(problem, subject, plan, rows, device)
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

/// A gradient and its numeric counterpart in the first rows.
struct LeadingRows {
    /// The losses, one vector [rows·m] per step of the plan; empty for `difference`.
    losses: Vec<Vec<f64>>,
    /// The gradient under test, [rows·m].
    analytic: Vec<f64>,
    /// The numeric gradient, [rows·m].
    numeric: Vec<f64>,
}

impl LeadingRows {
    fn new(
        problem: &Problem,
        subject: &Subject,
        plan: Plan,
        rows: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut engine = device.engine(problem, plan)?;
        let mut all = Self {
            losses: Vec::new(),
            analytic: Vec::new(),
            numeric: Vec::new(),
        };
        let block = budget::block_rows(problem, plan.derivative());
        for rows in budget::calls(rows, engine.rows_per_call(), block) {
            let evaluation = engine.evaluate(rows.clone())?;
            all.analytic.extend(match &subject.gradient {
                Some(gradient) => gradient.rows(rows.clone()),
                None => engine.backward(rows)?,
            });
            if let Values::Losses(losses) = &evaluation.values {
                all.losses.resize(losses.at_steps.len(), Vec::new());
                let steps = all.losses.iter_mut().zip(&losses.at_steps);
                steps.for_each(|(all, losses)| all.extend(losses));
            }
            let numeric = evaluation.numeric(&plan, problem.normalizer());
            all.numeric.extend(numeric);
        }
        Ok(all)
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
        difference: &LeadingRows,
        forward_pass: &LeadingRows,
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

    #[test]
    fn differences_of_f32_losses_are_whole_numbers_of_units() {
        let a = f64::from(0.712_5f32);
        let b = f64::from(0.712_5f32.next_down().next_down());
        assert_eq!(units_between(a, b, Precision::F32), 2.0);
        assert_eq!(unit(0.7, Precision::F32), 2f64.powi(-24));
        assert!(units_between(0.7, 0.700_000_01, Precision::F32).fract() != 0.0);
    }
}
