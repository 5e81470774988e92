//! Tests the engine under limits that no adapter has, and with the pipeline constants of other
//! devices.

use super::devices;
use crate::{
    cpu::Cpu,
    engine::{Engine, Evaluation, Values},
    gpu::{GpuEngine, kernel::sample::Sampler},
    loss::{CrossEntropy, Reduction},
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    report::DeviceKind,
    scheme::{Method, Precision},
    tensor::Tensor,
};

/// The unit roundoff of f32.
const U: f64 = 5.960_464_477_539_063e-8;

/// Draws a problem with logits of order 1. Its values are exact in f32, so that every engine sees
/// the same operands.
fn random(seed: u64, [n, d, k]: [usize; 3], loss: CrossEntropy) -> Problem {
    let mut sampler = Sampler::new(seed, Precision::F32, [n, d, k]);
    let mut normal = |shape: &[usize], scale: f64| {
        let values = sampler.scaled(shape.iter().product(), scale);
        let values: Vec<f64> = values.iter().map(|v| f64::from(*v as f32)).collect();
        Tensor::from_f64(shape, &values)
    };
    let input = normal(&[n, d], 1.0);
    let weight = normal(&[k, d], 1.0 / (d as f64).sqrt());
    let bias = normal(&[k], 1.0);
    let target: Vec<i64> = (0..n).map(|row| (row * row * 7 % k) as i64).collect();
    let target = Tensor::from_classes(&target);
    Problem::new(input, weight, Some(bias), &target, loss).unwrap()
}

fn of_sum() -> CrossEntropy {
    CrossEntropy {
        reduction: Reduction::Sum,
        ..CrossEntropy::default()
    }
}

fn plan(problem: &Problem, method: Method, eps: Option<f64>) -> Plan {
    let derivative = Differentiation::from(Wrt::Input).by(method);
    Plan::new(problem, derivative, eps, Precision::F32)
}

fn on_host(problem: &Problem, plan: Plan) -> Cpu<'_> {
    let precision = Precision::F64;
    Cpu::new(problem, Plan { precision, ..plan })
}

/// Covers sizes at which an invocation that loops too long is wrong on Mesa 22.3, and sums that
/// take several dispatches.
#[test]
fn engines_agree_where_sums_are_long() {
    for mut device in devices() {
        for kind in [DeviceKind::Software, DeviceKind::Gpu] {
            device.variants = kind;
            for sizes in [
                [256, 64, 1000],
                [16, 30_000, 3],
                [2, 70_000, 2],
                [2, 3, 70_000],
            ] {
                let n = sizes[0];
                let problem = random(1, sizes, of_sum());
                let plan = plan(&problem, Method::Difference, None);
                let mut engine = GpuEngine::<f32>::new(&device, &problem, plan).unwrap();
                let found = engine.evaluate(0..n).unwrap();
                let host = on_host(&problem, plan).evaluate(0..n);
                let pairs = found.derivative().iter().zip(host.derivative());
                for (entry, (found, expected)) in pairs.enumerate() {
                    let bound = 32.0 * U * host.bounds.conditioning[entry];
                    let error = (found - expected).abs();
                    assert!(
                        error <= bound,
                        "{sizes:?}, entry {entry}: {error:e} > {bound:e}"
                    );
                }
            }
        }
    }
}

/// Tests a weight that exceeds one binding, so that it is bound in windows of classes.
#[test]
fn windows_of_classes_add_up() {
    for mut device in devices() {
        // 23 classes of 12 columns, of two steps: windows of 7, 7, 7 and 2.
        device.binding_bytes = (2 * 7 * 12 + 5) * 4;
        let plain = CrossEntropy::default();
        let smoothed = CrossEntropy {
            label_smoothing: 0.1,
            ..CrossEntropy::default()
        };
        for loss in [plain, smoothed] {
            let problem = random(5, [40, 11, 23], loss);
            for method in [Method::Difference, Method::ForwardPass] {
                let plan = plan(&problem, method, Some(2f64.powi(-8)));
                let host = on_host(&problem, plan);
                let expected = host.evaluate(0..40);
                let mut engine = GpuEngine::<f32>::new(&device, &problem, plan).unwrap();
                let step = engine.rows_per_call();
                assert!(step < 8, "{step} rows of 23 logits are bound at once");
                // The derivative, or the losses of each step.
                let of = |evaluation: &Evaluation| match &evaluation.values {
                    Values::Derivative(derivative) => vec![derivative.clone()],
                    Values::Losses(losses) => losses.at_steps.clone(),
                };
                let mut losses = vec![Vec::new(); of(&expected).len()];
                let (mut conditioning, mut gradient) = (Vec::new(), Vec::new());
                for start in (0..40).step_by(step) {
                    let rows = start..40.min(start + step);
                    let call = engine.evaluate(rows.clone()).unwrap();
                    let parts = losses.iter_mut().zip(of(&call));
                    parts.for_each(|(losses, part)| losses.extend(part));
                    conditioning.extend(call.bounds.conditioning);
                    gradient.extend(engine.backward(rows).unwrap());
                }
                let size = |entry: usize| expected.bounds.conditioning[entry];
                for (found, expected) in losses.iter().zip(&of(&expected)) {
                    assert_eq!(found.len(), expected.len());
                    for (entry, (found, expected)) in found.iter().zip(expected).enumerate() {
                        // A loss is a few units large, whatever the entry.
                        let bound = match method {
                            Method::Difference => size(entry),
                            Method::ForwardPass => 40.0,
                        };
                        assert!((found - expected).abs() <= 16.0 * U * bound, "{entry}");
                    }
                }
                let exact = host.backward(0..40);
                for entry in 0..40 * 11 {
                    let size = size(entry);
                    assert!((conditioning[entry] - size).abs() <= 16.0 * U * size);
                    let error = (gradient[entry] - exact[entry]).abs();
                    assert!(error <= 16.0 * U * size / problem.normalizer());
                }
            }
        }
    }
}
