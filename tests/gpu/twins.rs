//! Every kernel of the table equals its CPU twin, and the engine's results do not depend on how the
//! rows are split into calls.

use crate::devices::devices;
use crate::problems::random;
use gradprobe::{
    engine::{Engine, Evaluation, Values},
    gpu::{
        Element, GpuDevice, GpuEngine,
        kernel::{
            KERNELS,
            sample::{SIZES, Sampler},
        },
    },
    loss::Reduction,
    plan::{Differentiation, Plan},
    problem::Wrt,
    report::DeviceKind,
    scheme::{Method, Precision},
};

/// Runs the samples of every kernel in the variants for software adapters and for GPUs, whatever
/// the adapter's kind.
fn every_kernel_equals_its_twin<T: Element>(device: &GpuDevice) {
    for kind in [DeviceKind::Software, DeviceKind::Gpu] {
        for sizes in SIZES {
            for (seed, kernel) in (0..).zip(KERNELS) {
                let mut sampler = Sampler::new(seed, T::PRECISION, sizes);
                let samples = (kernel.samples)(&mut sampler);
                assert!(!samples.is_empty(), "{} has no samples", kernel.name);
                for sample in samples {
                    let found = sample.disagreement::<T>(device, kind).unwrap();
                    let launch = sample.launch();
                    if let Some(found) = found {
                        panic!("{}, {sizes:?}, {kind}: {found}; {launch:?}", kernel.name);
                    }
                }
            }
        }
    }
}

#[test]
fn every_kernel_equals_its_twin_in_f32() {
    for device in devices() {
        every_kernel_equals_its_twin::<f32>(&device);
    }
}

/// Not every adapter has f64; lavapipe does.
#[test]
fn every_kernel_equals_its_twin_in_f64() {
    for device in devices().iter().filter(|device| device.has_f64()) {
        every_kernel_equals_its_twin::<f64>(device);
    }
}

/// Rows are independent: every entry is the same to the last bit, however the rows are split.
#[test]
fn calls_of_fewer_rows_do_not_change_a_bit() {
    for mut device in devices() {
        let problem = random(2, 50, 12, 5, 1.0, Reduction::Mean);
        for wrt in [Wrt::Input, Wrt::Logits] {
            for method in [Method::Difference, Method::ForwardPass] {
                let derivative = Differentiation::from(wrt).by(method);
                let plan = Plan::new(&problem, derivative, None, Precision::F32);
                device.limit_memory(1 << 30);
                let whole = GpuEngine::<f32>::new(&device, &problem, plan)
                    .unwrap()
                    .evaluate(0..50)
                    .unwrap();
                device.limit_memory(4 << 10);
                let mut engine = GpuEngine::<f32>::new(&device, &problem, plan).unwrap();
                let step = engine.rows_per_call();
                assert!(step < 20, "4 KiB hold {step} rows");
                let of = |evaluation: &Evaluation| match &evaluation.values {
                    Values::Derivative(derivative) => derivative.clone(),
                    Values::Losses(losses) => losses.at_steps[1].clone(),
                };
                let (mut losses, mut conditioning) = (Vec::new(), Vec::new());
                for start in (0..50).step_by(step) {
                    let call = engine.evaluate(start..50.min(start + step)).unwrap();
                    losses.extend(of(&call));
                    conditioning.extend(call.bounds.conditioning);
                }
                assert_eq!(
                    (losses, conditioning),
                    (of(&whole), whole.bounds.conditioning)
                );
            }
        }
    }
}
