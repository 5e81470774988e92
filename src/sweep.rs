//! The error of the numeric gradient at every step size, by both methods side by side: where truncation ends and
//! where noise begins.

use crate::{
    check::{Subject, numeric_rows},
    device::Device,
    error::{Error, Result},
    plan::Plan,
    problem::{Problem, Wrt},
    scheme::{Method, Precision, Scheme},
    tensor::{Dtype, Tensor},
};

/// Multiply-adds of about a second on two cores.
pub const SECOND: usize = 1 << 29;

/// What was found at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The step.
    pub eps: f64,
    /// The mean relative error of the gradient against `difference`.
    pub difference: f64,
    /// The same against `forward-pass`.
    pub forward_pass: f64,
    /// What rounding of the losses alone would make of the latter.
    pub floor: f64,
    /// The median of |L(x + eps) - L(x - eps)| in units of the last place of the loss.
    pub units: f64,
    /// Whether all of those differences are whole numbers of units.
    pub whole: bool,
}

/// A sweep over the step.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The arithmetic of the losses.
    pub precision: Precision,
    /// The samples that were used, the first so many.
    pub rows: usize,
    /// From the largest step to the smallest.
    pub points: Vec<Point>,
}

impl Sweep {
    /// The step at which plain forward passes come closest.
    pub fn best(&self) -> Option<&Point> {
        self.points
            .iter()
            .min_by(|a, b| a.forward_pass.total_cmp(&b.forward_pass))
    }

    /// The largest step from which on plain forward passes give noise: half of the loss differences are under four
    /// units in the last place.
    pub fn noise(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.units < 4.0)
    }
}

/// Multiply-adds of a step of a [`glance`], and of a row of it at most.
const GLANCE: usize = 1 << 22;
const MOST_OF_A_ROW: usize = 1 << 25;

/// A sweep over so few rows that it takes no time to speak of, in the arithmetic of the gradient's type; none of a parameter, or where a row alone
/// would take long.
///
/// # Errors
/// Those of [`sweep`].
pub fn glance(problem: &Problem, subject: &Subject) -> Result<Option<Sweep>> {
    let (k, m) = (problem.k(), problem.columns(subject.wrt));
    if subject.wrt.is_parameter() || 2 * k * m * problem.d() > MOST_OF_A_ROW {
        return Ok(None);
    }
    let is_f64 = |gradient: &Tensor| gradient.dtype() == Dtype::F64;
    let precision = if subject.gradient.as_ref().is_some_and(is_f64) {
        Precision::F64
    } else {
        Precision::F32
    };
    let device = Device::Cpu { note: None };
    sweep(problem, subject, precision, (1.0, 1e-8), GLANCE, &device).map(Some)
}

/// Sweeps the powers of ten from `from` down to `to`, over the first rows, as many as take so many multiply-adds a step.
///
/// # Errors
/// [`Error::Setting`] for steps out of range or a parameter's gradient, [`Error::Gpu`] for a fault of the device.
pub fn sweep(
    problem: &Problem,
    subject: &Subject,
    precision: Precision,
    (from, to): (f64, f64),
    most_multiply_adds: usize,
    device: &Device,
) -> Result<Sweep> {
    let wrt = subject.wrt;
    if wrt.is_parameter() {
        let expected = "a sweep takes rows of samples: input or logits".to_owned();
        return Err(Error::Setting {
            name: "--wrt",
            found: wrt.name().to_owned(),
            expected,
        });
    }
    if !(1e-12..=10.0).contains(&to) || !(to..=10.0).contains(&from) {
        let expected =
            "steps lie between 1e-12 and 10, and a sweep begins at the larger".to_owned();
        return Err(Error::Setting {
            name: "--eps-from",
            found: format!("{from:e} and --eps-to {to:e}"),
            expected,
        });
    }
    subject.validate(problem)?;
    let (k, m) = (problem.k(), problem.columns(wrt));
    let slopes = if wrt == Wrt::Input { problem.d() } else { 1 };
    let rows = (most_multiply_adds / (2 * k * m * slopes)).clamp(1, problem.n());
    // The powers of ten between them, the ends included however they were rounded.
    let (first, last) = (
        (from.log10() + 1e-9).floor() as i32,
        (to.log10() - 1e-9).ceil() as i32,
    );
    if first < last {
        let expected = "no power of ten lies between them".to_owned();
        return Err(Error::Setting {
            name: "--eps-from",
            found: format!("{from:e} and --eps-to {to:e}"),
            expected,
        });
    }
    let point = |i: i32| {
        let eps = 10f64.powi(first - i);
        let plan = |method| {
            Plan::new(
                problem,
                wrt,
                method,
                Scheme::Central,
                Some(eps),
                precision,
                Dtype::F32,
            )
        };
        let by_difference = numeric_rows(problem, subject, plan(Method::Difference), rows, device)?;
        let by_forward_pass =
            numeric_rows(problem, subject, plan(Method::ForwardPass), rows, device)?;
        let [above, below] = by_forward_pass.losses.as_slice() else {
            unreachable!("a central difference has two terms")
        };
        let units: Vec<f64> = above
            .iter()
            .zip(below)
            .map(|(a, b)| units_between(*a, *b, precision))
            .collect();
        let noise = |i: usize| {
            // Two roundings, each uniform within half a unit.
            let error = unit(above[i], precision) * (2.0f64 / 12.0).sqrt()
                / (2.0 * eps * problem.normalizer());
            (error / by_difference.numeric[i].abs()).min(1.0)
        };
        Ok(Point {
            eps,
            difference: by_difference.mean_rel_err(),
            forward_pass: by_forward_pass.mean_rel_err(),
            floor: (0..above.len()).map(noise).sum::<f64>() / above.len() as f64,
            whole: units.iter().all(|units| units.fract() == 0.0),
            units: median(units),
        })
    };
    Ok(Sweep {
        wrt,
        precision,
        rows,
        points: (0..=first - last).map(point).collect::<Result<_>>()?,
    })
}

/// The unit in the last place of `value`.
fn unit(value: f64, precision: Precision) -> f64 {
    2.0 * precision.unit_roundoff()
        * value
            .abs()
            .max(precision.smallest_normal())
            .log2()
            .floor()
            .exp2()
}

/// |a - b| in units of the last place of the smaller, of which both are whole numbers.
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
        let (a, b) = (
            f64::from(0.712_5f32),
            f64::from(0.712_5f32.next_down().next_down()),
        );
        assert_eq!(units_between(a, b, Precision::F32), 2.0);
        assert_eq!(unit(0.7, Precision::F32), 2f64.powi(-24));
        assert!(units_between(0.7, 0.700_000_01, Precision::F32).fract() != 0.0);
    }
}
