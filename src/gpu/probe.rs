//! The self-probe: before its first use an adapter runs a small problem through every production kernel, and
//! each result is held against the CPU twin's. An isolated test would not do: an adapter has passed one and failed
//! inside the kernel.

use super::{Element, Gpu, GpuDevice, disagreement};
use crate::{
    cpu::{
        Cpu,
        compare::{self, ComparedRows},
    },
    engine::{Allowance, Bounds, Values},
    error::{Error, Result},
    loss::CrossEntropy,
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Tensor,
};

/// Roundings that a kernel's longest chain may add up.
const ROUNDINGS: f64 = 64.0;

/// The largest R of the probe's samples.
const TOTAL: f64 = 2.5;

/// # Errors
/// [`Error::Miscomputes`] for the first kernel that is off by more than rounding explains, [`Error::Gpu`] for a
/// fault of the driver.
pub(super) fn probe<T: Element>(device: &GpuDevice) -> Result<()> {
    // Classes on both sides of a workgroup's 64 threads take both ways through the row kernels.
    for (n, d, k, smooth) in [(5, 37, 3, true), (3, 5, 70, false)] {
        let problem = problem(n, d, k, smooth)?;
        for wrt in Wrt::ALL {
            for method in [Method::Difference, Method::ForwardPass] {
                if wrt.is_parameter() && method == Method::ForwardPass {
                    // The host's: see Device::fallback.
                    continue;
                }
                let eps = Some(2f64.powi(-9));
                let derivative = Differentiation::from(wrt).by(method);
                let plan = Plan::new(&problem, derivative, eps, T::PRECISION);
                evaluation::<T>(device, &problem, plan)?;
                if method == Method::Difference && !wrt.is_parameter() {
                    comparison::<T>(device, &problem, plan)?;
                }
            }
        }
    }
    Ok(())
}

fn evaluation<T: Element>(device: &GpuDevice, problem: &Problem, plan: Plan) -> Result<()> {
    let allowed = ROUNDINGS * T::PRECISION.unit_roundoff();
    let host = Cpu::new(
        problem,
        Plan {
            precision: Precision::F64,
            ..plan
        },
    );
    let expected = host.evaluate(0..problem.n());
    let mut gpu = Gpu::<T>::new(device, problem, plan)?;
    let found = gpu.evaluate(0..problem.n())?;
    let Bounds {
        conditioning,
        magnitude,
        ..
    } = &expected.bounds;
    let columns = problem.columns(plan.wrt);

    let kernel = match (plan.method, plan.wrt) {
        (Method::Difference, Wrt::Input) => "difference",
        (Method::Difference, Wrt::Logits) => "difference_logits",
        (Method::Difference, Wrt::Weight | Wrt::Bias) => "difference_weight",
        (Method::ForwardPass, _) => "loss",
    };
    let bound = |entry: usize| match plan.method {
        Method::Difference => conditioning[entry] * allowed,
        Method::ForwardPass => {
            TOTAL * (magnitude[entry / columns] + (problem.k() as f64).ln() + 1.0) * allowed
        }
    };
    hold(
        device,
        kernel,
        &flat(&found.values),
        &flat(&expected.values),
        |entry| bound(entry % conditioning.len()),
    )?;
    hold(
        device,
        "residual",
        &found.bounds.conditioning,
        conditioning,
        |entry| conditioning[entry] * allowed,
    )?;
    let bound = |row: usize| magnitude[row] * allowed;
    hold(device, "logits", &found.bounds.magnitude, magnitude, bound)?;
    let bound = |entry: usize| conditioning[entry] / problem.normalizer() * allowed;
    hold(
        device,
        "matmul",
        &gpu.backward(0..problem.n())?,
        &host.backward(0..problem.n()),
        bound,
    )
}

/// Returns the derivative, or the losses of all steps one after the other.
fn flat(values: &Values) -> Vec<f64> {
    match values {
        Values::Derivative(derivative) => derivative.clone(),
        Values::Losses(losses) => losses.at_steps.concat(),
    }
}

/// The comparison, of a gradient one entry of which is wrong, with its twin's of what the same device made.
fn comparison<T: Element>(device: &GpuDevice, problem: &Problem, plan: Plan) -> Result<()> {
    let unit_roundoff = T::PRECISION.unit_roundoff();
    let (n, columns) = (problem.n(), problem.columns(plan.wrt));
    let allowance = Allowance {
        normalizer: problem.normalizer(),
        slack: 8.0 * unit_roundoff,
        unit_roundoff,
        rounding: ROUNDINGS * unit_roundoff,
        drift: 0.0,
        floor: 0.0,
        given: None,
        noise: vec![unit_roundoff; columns],
        noise_by_magnitude: unit_roundoff * unit_roundoff,
        noise_drift: 0.0,
        noise_floor: 0.0,
    };
    let mut gpu = Gpu::<T>::comparing(device, problem, plan, &allowance)?;
    let mut gradient = gpu.backward(0..n)?;
    let wrong = gradient.len() / 2;
    gradient[wrong] = 2.0 * gradient[wrong] + 1.0;
    let shape = problem.gradient_shape(plan.wrt);
    gpu.submit_comparison(0..n, &Tensor::from_f64(&shape, &gradient));
    let found = gpu.collect_comparison()?;

    let made = gpu.evaluate(0..n)?;
    let bounds = made.bounds.magnitude.iter().zip(&made.bounds.logit_error);
    let bounds: Vec<f64> = bounds.flat_map(|(all, error)| [*all, *error]).collect();
    let compared = ComparedRows {
        analytic: &gradient,
        derivative: made.derivative(),
        conditioning: &made.bounds.conditioning,
        bounds: &bounds,
    };
    let expected = compare::compare(0..n, &compared, &allowance);
    match disagreement::<T>(&found, &expected, allowance.slack) {
        None => Ok(()),
        Some((error, bound)) => Err(Error::Miscomputes {
            device: device.info().name.clone(),
            kernel: "compare",
            error,
            bound,
        }),
    }
}

fn hold(
    device: &GpuDevice,
    kernel: &'static str,
    found: &[f64],
    expected: &[f64],
    bound: impl Fn(usize) -> f64,
) -> Result<()> {
    if found.len() != expected.len() {
        let reason = format!(
            "{kernel} gave {} results, not {}",
            found.len(),
            expected.len()
        );
        return Err(device.failed(reason));
    }
    let mut most = 0.0_f64;
    for (entry, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (error, bound) = ((found - expected).abs(), bound(entry));
        most = most.max(error / bound);
        // Written so that NaN is refused.
        if !(error <= bound) {
            return Err(Error::Miscomputes {
                device: device.info().name.clone(),
                kernel,
                error,
                bound,
            });
        }
    }
    tracing::debug!("self-probe: {kernel} is within {most:.2} of what is allowed");
    Ok(())
}

fn problem(n: usize, d: usize, k: usize, smooth: bool) -> Result<Problem> {
    let wave = |count: usize, frequency: f64| -> Vec<f64> {
        // Exact in f32, so that both sides see the same operands.
        (0..count)
            .map(|i| f64::from(((i as f64 * frequency).sin() * 2.0) as f32))
            .collect()
    };
    let target: Vec<i64> = (0..n).map(|row| (row * 7 % k) as i64).collect();
    // Smoothed labels with class weights take every branch of the kernels.
    let class_weight = (0..k).map(|c| 0.5 + (c % 3) as f64).collect();
    let smoothed = CrossEntropy {
        class_weight: Some(class_weight),
        label_smoothing: 0.25,
        ..CrossEntropy::default()
    };
    let loss = if smooth {
        smoothed
    } else {
        CrossEntropy::default()
    };
    Problem::new(
        Tensor::from_f64(&[n, d], &wave(n * d, 0.37)),
        Tensor::from_f64(&[k, d], &wave(k * d, 0.91)),
        Some(Tensor::from_f64(&[k], &wave(k, 1.7))),
        &Tensor::from_classes(&target),
        loss,
    )
}
