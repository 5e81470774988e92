//! The self-probe. Before its first use, a device runs every kernel of the table on samples, and
//! the engine on small problems. Each result is compared with the host's. Both tests are needed: an
//! adapter has computed a function correctly by itself, and failed inside a kernel.

use super::{
    Element, GpuDevice, GpuEngine,
    device::F64,
    kernel::{KERNELS, sample::Sampler},
};
use crate::{
    cpu::Cpu,
    engine::{Bounds, Engine, Values},
    error::{Error, Result},
    loss::CrossEntropy,
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    scheme::{Method, Precision},
    tensor::Tensor,
};

/// Sizes n, d and k of the samples and the problems. With fewer and with more classes than a
/// workgroup's 64 threads, kernels that reduce over the classes take both branches.
const SIZES: [[usize; 3]; 2] = [[5, 37, 3], [3, 5, 70]];

/// Roundings that may add up in a kernel's longest chain (chosen).
const ROUNDINGS: f64 = 64.0;

/// The largest R of a sample of [`problem`].
const TOTAL: f64 = 2.5;

impl GpuDevice {
    /// Returns true if the device computes in f64, and passes the self-probe in f64. The first call
    /// runs the probe.
    pub fn has_f64(&self) -> bool {
        let has = || self.device.features().contains(F64) && probe::<f64>(self).is_ok();
        *self.has_f64.get_or_init(has)
    }
}

/// Probes a device in the arithmetic of T.
///
/// # Errors
/// [`Error::Miscomputes`] for the first kernel that is off by more than rounding explains,
/// [`Error::Gpu`] if the driver reports a fault.
pub(super) fn probe<T: Element>(device: &GpuDevice) -> Result<()> {
    for (seed, sizes) in (0..).zip(SIZES) {
        for kernel in KERNELS {
            let mut sampler = Sampler::new(seed, T::PRECISION, sizes);
            for sample in (kernel.samples)(&mut sampler) {
                if let Some(found) = sample.disagreement::<T>(device, device.variants)? {
                    return Err(miscomputes(device, kernel.name, found.error(), found.bound));
                }
            }
        }
    }
    for (sizes, is_smoothed) in SIZES.into_iter().zip([true, false]) {
        let problem = problem(sizes, is_smoothed)?;
        for wrt in Wrt::ALL {
            for method in [Method::Difference, Method::ForwardPass] {
                // The CPU engine computes these: see Device::fallback.
                if !(wrt.is_parameter() && method == Method::ForwardPass) {
                    hold_engine::<T>(device, &problem, wrt, method)?;
                }
            }
        }
    }
    Ok(())
}

/// Compares the results of the engine with those of the CPU engine in f64.
fn hold_engine<T: Element>(
    device: &GpuDevice,
    problem: &Problem,
    wrt: Wrt,
    method: Method,
) -> Result<()> {
    let derivative = Differentiation::from(wrt).by(method);
    let plan = Plan::new(problem, derivative, Some(2f64.powi(-9)), T::PRECISION);
    let on_host = Plan {
        precision: Precision::F64,
        ..plan
    };
    let rows = 0..problem.n();
    let host = Cpu::new(problem, on_host);
    let expected = host.evaluate(rows.clone());
    let mut engine = GpuEngine::<T>::new(device, problem, plan)?;
    let found = engine.evaluate(rows.clone())?;
    let Bounds {
        conditioning,
        magnitude,
        ..
    } = &expected.bounds;

    let allowed = ROUNDINGS * T::PRECISION.unit_roundoff();
    let (columns, k) = (problem.columns(wrt), problem.k() as f64);
    let hold = |kernel, found: &[f64], expected: &[f64], bound: &dyn Fn(usize) -> f64| {
        hold(device, kernel, found, expected, |i| allowed * bound(i))
    };
    let kernel = match (method, wrt) {
        (Method::Difference, Wrt::Input) => "difference",
        (Method::Difference, Wrt::Logits) => "difference_logits",
        (Method::Difference, Wrt::Weight | Wrt::Bias) => "difference_weight",
        (Method::ForwardPass, _) => "loss",
    };
    let of_values = |i: usize| match method {
        Method::Difference => conditioning[i],
        Method::ForwardPass => TOTAL * (magnitude[i % conditioning.len() / columns] + k.ln() + 1.0),
    };
    hold(
        kernel,
        &flat(&found.values),
        &flat(&expected.values),
        &of_values,
    )?;
    let of_entry = |i: usize| conditioning[i];
    hold(
        "residual",
        &found.bounds.conditioning,
        conditioning,
        &of_entry,
    )?;
    let of_row = |row: usize| magnitude[row];
    hold("logits", &found.bounds.magnitude, magnitude, &of_row)?;
    let (found, expected) = (engine.backward(rows.clone())?, host.backward(rows));
    let normalizer = problem.normalizer();
    hold("matmul", &found, &expected, &|i| {
        conditioning[i] / normalizer
    })
}

/// Returns the derivative, or the losses of all steps one after the other.
fn flat(values: &Values) -> Vec<f64> {
    match values {
        Values::Derivative(derivative) => derivative.clone(),
        Values::Losses(losses) => losses.at_steps.concat(),
    }
}

/// Compares the results of a kernel with the expected ones.
fn hold(
    device: &GpuDevice,
    kernel: &'static str,
    found: &[f64],
    expected: &[f64],
    bound: impl Fn(usize) -> f64,
) -> Result<()> {
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(device.failed(format!(
            "kernel {kernel} returned {found} results, expected {expected}"
        )));
    }
    let mut largest = 0.0_f64;
    for (entry, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (error, bound) = ((found - expected).abs(), bound(entry));
        largest = largest.max(error / bound);
        // A NaN exceeds any bound.
        if !(error <= bound) {
            return Err(miscomputes(device, kernel, error, bound));
        }
    }
    tracing::debug!("self-probe: {kernel}: largest error {largest:.2} of the bound");
    Ok(())
}

fn miscomputes(device: &GpuDevice, kernel: &'static str, error: f64, bound: f64) -> Error {
    Error::Miscomputes {
        device: device.info().name.clone(),
        kernel,
        error,
        bound,
    }
}

/// Creates a problem from sine waves, exact in f32, so that both sides see the same operands.
/// Smoothed labels with class weights take every branch of the kernels.
fn problem([n, d, k]: [usize; 3], is_smoothed: bool) -> Result<Problem> {
    let wave = |shape: &[usize], frequency: f64| {
        let value = |i| f64::from(((i as f64 * frequency).sin() * 2.0) as f32);
        let count = shape.iter().product();
        Tensor::from_f64(shape, &(0..count).map(value).collect::<Vec<f64>>())
    };
    let target: Vec<i64> = (0..n).map(|row| (row * 7 % k) as i64).collect();
    let mut loss = CrossEntropy::default();
    if is_smoothed {
        loss.class_weight = Some((0..k).map(|c| 0.5 + (c % 3) as f64).collect());
        loss.label_smoothing = 0.25;
    }
    Problem::new(
        wave(&[n, d], 0.37),
        wave(&[k, d], 0.91),
        Some(wave(&[k], 1.7)),
        &Tensor::from_classes(&target),
        loss,
    )
}
