//! `gradprobe bench`: times the same check on every device, and measures how close each comes to
//! the exact gradient.

use std::time::Instant;

use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;
use rayon::prelude::*;

use crate::{
    check::{self, Options, Subject},
    cpu::Cpu,
    device::Device,
    engine::Timing,
    error::Result,
    loss::CrossEntropy,
    plan::Plan,
    problem::{Problem, Wrt},
    report::{DeviceInfo, Verdict},
    scheme::Precision,
    tensor::Tensor,
};

/// Sizes of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The number of samples.
    pub n: usize,
    /// The number of features.
    pub d: usize,
    /// The number of classes.
    pub k: usize,
}

impl Sizes {
    /// Returns the number of entries of the gradient.
    pub fn entries(&self) -> usize {
        self.n * self.d
    }

    /// Returns the bytes of input and gradient in f32. Every check must read them once.
    pub fn bytes(&self) -> usize {
        8 * self.entries()
    }
}

/// The result of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    /// Sizes of the problem that was checked.
    pub sizes: Sizes,
    /// Memory bandwidth of the host for reads on all threads, in bytes per second.
    pub bandwidth: f64,
    /// One run for each device.
    pub runs: Vec<Run>,
}

/// The fastest of several checks on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The device.
    pub device: DeviceInfo,
    /// Time from tensors in memory to the finished report, in seconds.
    pub seconds: f64,
    /// Part of `seconds` spent in kernels, by the device's clock. `None` for the CPU engine, and
    /// for a device without a clock.
    pub kernels: Option<f64>,
    /// Time spent on uploading operands, and on waiting for results while no kernel runs. `None`
    /// for the CPU engine.
    pub transfer: Option<f64>,
    /// Remaining time, most of it in the comparison.
    pub host: f64,
    /// Error of the numeric gradient, |numeric - exact|/|exact| in the Euclidean norm, over the
    /// first rows. The exact gradient is computed by the chain rule on the CPU in f64.
    pub error: f64,
    /// Verdict on the gradient, which is correct.
    pub verdict: Verdict,
}

/// Most entries that are compared with the exact gradient. Chosen.
const MOST_COMPARED: usize = 1 << 20;

/// Number of u64 values to read for the bandwidth: 256 MiB, more than caches hold. Chosen.
const READ: usize = 1 << 25;

/// Times `repeat` checks on each device, after one check that is not timed. Calls `progress` before
/// each check with the name of the device.
///
/// # Errors
/// Those of [`check::check`].
pub fn bench(
    sizes: Sizes,
    repeat: usize,
    devices: &[Device],
    progress: &mut dyn FnMut(&str),
) -> Result<Bench> {
    let problem = problem(sizes)?;
    let exact = exact(&problem);
    let subject = subject(sizes, &exact);
    let bandwidth = bandwidth();
    let mut runs = Vec::new();
    for device in devices {
        let name = device.info().name;
        let mut progress = || progress(&name);
        runs.push(run(
            &problem,
            &subject,
            &exact,
            repeat,
            device,
            &mut progress,
        )?);
    }
    Ok(Bench {
        sizes,
        bandwidth,
        runs,
    })
}

/// Returns a problem of these sizes and its correct gradient in f32.
///
/// # Errors
/// Those of [`Problem::new`].
pub fn case(sizes: Sizes) -> Result<(Problem, Subject)> {
    let problem = problem(sizes)?;
    let subject = subject(sizes, &exact(&problem));
    Ok((problem, subject))
}

fn subject(Sizes { n, d, .. }: Sizes, exact: &[f64]) -> Subject {
    let gradient: Vec<f32> = exact.iter().map(|&g| g as f32).collect();
    Subject {
        wrt: Wrt::Input,
        gradient: Some(Tensor::from_f32(&[n, d], &gradient)),
    }
}

fn run(
    problem: &Problem,
    subject: &Subject,
    exact: &[f64],
    repeat: usize,
    device: &Device,
    progress: &mut dyn FnMut(),
) -> Result<Run> {
    let subjects = std::slice::from_ref(subject);
    let rows = (MOST_COMPARED / problem.d()).clamp(1, problem.n());
    let options = Options {
        rows: Some(0..rows),
        ..Options::default()
    };
    let mut numeric = Vec::new();
    check::check(problem, subjects, &options, device, &mut numeric)?;
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = numeric.iter().zip(exact);
    let error = square(&mut pairs.map(|(n, e)| n - e));
    let error = (error / square(&mut exact[..numeric.len()].iter().copied())).sqrt();

    let mut best: Option<Run> = None;
    for repetition in 0..=repeat {
        progress();
        let (started, before) = (Instant::now(), timing(device));
        let report = check::check(problem, subjects, &Options::default(), device, &mut ())?;
        let seconds = started.elapsed().as_secs_f64();
        let spent = timing(device)
            .zip(before)
            .map(|(after, before)| after.since(before));
        // The first check creates pipelines and fills caches, so it does not count.
        if repetition > 0 && best.as_ref().is_none_or(|best| seconds < best.seconds) {
            let kernels = spent
                .map(|spent| spent.kernels)
                .filter(|kernels| *kernels > 0.0);
            let blocked = spent.map_or(0.0, |spent| spent.upload + spent.wait);
            let idle = |spent: Timing| (spent.wait - spent.kernels).max(0.0) + spent.upload;
            best = Some(Run {
                device: report.device.clone(),
                seconds,
                kernels,
                transfer: spent.map(idle),
                host: seconds - blocked,
                error,
                verdict: report.verdict,
            });
        }
    }
    Ok(best.expect("repeat is at least 1"))
}

fn timing(device: &Device) -> Option<Timing> {
    match device {
        Device::Cpu { .. } => None,
        Device::Gpu(device) => Some(device.timing()),
    }
}

/// Draws a problem with normal input, weight and bias in f32. The logits are of order 1.
fn problem(Sizes { n, d, k }: Sizes) -> Result<Problem> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let input = normal(&mut random, n * d, 1.0);
    let weight = normal(&mut random, k * d, 1.0 / (d as f64).sqrt());
    let bias = normal(&mut random, k, 1.0);
    let target: Vec<i64> = (0..n).map(|_| random.random_range(0..k as i64)).collect();
    Problem::new(
        Tensor::from_f32(&[n, d], &input),
        Tensor::from_f32(&[k, d], &weight),
        Some(Tensor::from_f32(&[k], &bias)),
        &Tensor::from_classes(&target),
        CrossEntropy::default(),
    )
}

fn normal(random: &mut impl Rng, count: usize, scale: f64) -> Vec<f32> {
    let value = |_| (random.sample::<f64, _>(StandardNormal) * scale) as f32;
    (0..count).map(value).collect()
}

/// Computes the gradient by the chain rule, in f64.
fn exact(problem: &Problem) -> Vec<f64> {
    let plan = Plan::new(problem, Wrt::Input, None, Precision::F64);
    Cpu::new(problem, plan).backward(0..problem.n())
}

/// Measures the memory bandwidth: the bytes per second that all threads read, in the best of five
/// tries.
fn bandwidth() -> f64 {
    let values = vec![1u64; READ];
    let read = || {
        let started = Instant::now();
        let parts = values.par_chunks(1 << 16);
        let sum: u64 = parts.map(|part| part.iter().sum::<u64>()).sum();
        std::hint::black_box(sum);
        started.elapsed().as_secs_f64()
    };
    let best = (0..5).map(|_| read()).fold(f64::INFINITY, f64::min);
    (READ * size_of::<u64>()) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correct_gradient_passes_and_the_parts_are_within_the_total() {
        let sizes = Sizes { n: 40, d: 7, k: 5 };
        let mut checks = 0;
        let devices = [Device::Cpu { note: None }];
        let bench = bench(sizes, 2, &devices, &mut |_| checks += 1).unwrap();
        assert_eq!(checks, 3);
        let [run] = bench.runs.as_slice() else {
            panic!("one device")
        };
        assert_eq!(run.verdict, Verdict::Pass);
        assert!(run.error < 1e-15, "{:e}", run.error);
        assert!(run.seconds > 0.0 && run.host <= run.seconds);
        assert!(run.kernels.is_none() && bench.bandwidth > 1e8);
    }
}
