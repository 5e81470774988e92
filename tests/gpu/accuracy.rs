//! The numeric gradient is close to the exact one in the Euclidean norm, and it is a finite
//! difference.

use crate::devices::{CPU, all_devices, devices, gpus};
use crate::exact::{distance, exact};
use crate::numeric::numeric;
use crate::problems::random;
use gradprobe::{
    check::Options,
    device::Device,
    loss::Reduction,
    problem::{Problem, Wrt},
    scheme::{Method, Precision, Scheme},
};

fn error(problem: &Problem, wrt: Wrt, options: &Options, device: &Device) -> f64 {
    distance(
        &numeric(problem, wrt, options, device),
        &exact(problem, wrt),
    )
}

fn problem(n: usize, d: usize, k: usize) -> Problem {
    random(7, n, d, k, 1.0, Reduction::Mean)
}

#[test]
fn differences_in_f32_on_a_gpu_are_within_1e_6() {
    for device in gpus() {
        for (n, d, k) in [(10, 4, 2), (64, 32, 10), (4096, 256, 10)] {
            let problem = problem(n, d, k);
            for wrt in Wrt::ALL {
                for exponent in 3..=6 {
                    let options = Options {
                        eps: Some(10f64.powi(-exponent)),
                        ..Options::default()
                    };
                    let error = error(&problem, wrt, &options, &device);
                    println!(
                        "{} {n}x{d}x{k} {wrt:?} eps 1e-{exponent}: {error:.1e}",
                        device.info().name
                    );
                    // The truncation error is (eps·W)²/6 of the gradient's terms. For the logits, W
                    // is 1.
                    assert!(
                        error < 1e-6,
                        "{n}x{d}x{k} {wrt:?} eps 1e-{exponent}: {error:e}"
                    );
                }
            }
        }
    }
}

/// Covers the CPU engine and every adapter with f64, such as lavapipe.
#[test]
fn differences_in_f64_are_within_1e_13() {
    let on_gpus = devices().into_iter().filter(|device| device.has_f64());
    let on_gpus = on_gpus.map(|device| Device::Gpu(Box::new(device)));
    let options = Options {
        precision: Some(Precision::F64),
        ..Options::default()
    };
    for device in std::iter::once(CPU).chain(on_gpus) {
        for (n, d, k) in [(10, 4, 2), (64, 32, 10), (256, 64, 1000)] {
            let problem = problem(n, d, k);
            for wrt in Wrt::ALL {
                let error = error(&problem, wrt, &options, &device);
                let name = device.info().name;
                println!("{name} {n}x{d}x{k} {wrt:?}: {error:.1e}");
                assert!(error < 1e-13, "{name} {n}x{d}x{k} {wrt:?}: {error:e}");
            }
        }
    }
}

/// The error of plain forward passes has the shape of a U over eps: it falls with the truncation
/// error, then rises as u/eps.
#[test]
fn the_error_of_forward_passes_in_f32_is_a_u() {
    let problem = problem(10, 4, 2);
    for device in all_devices() {
        for wrt in [Wrt::Input, Wrt::Logits] {
            let at = |exponent: i32| {
                let eps = Some(10f64.powi(exponent));
                let options = Options {
                    method: Method::ForwardPass,
                    precision: Some(Precision::F32),
                    eps,
                    ..Options::default()
                };
                error(&problem, wrt, &options, &device)
            };
            let (large, middle, small, smaller) = (at(0), at(-2), at(-5), at(-6));
            println!(
                "{} {wrt:?}: {large:.1e} {middle:.1e} {small:.1e} {smaller:.1e}",
                device.info().name
            );
            assert!(
                middle < large / 10.0 && middle < small / 10.0,
                "{large:e} {middle:e} {small:e}"
            );
            assert!(
                (2.0..50.0).contains(&(smaller / small)),
                "noise rises as 1/eps: {small:e} {smaller:e}"
            );
        }
    }
}

/// Halving eps divides the error by 2^order. The numeric gradient is therefore a finite difference,
/// not the analytic formula under another name.
#[test]
fn truncation_falls_with_the_schemes_order() {
    let problem = problem(64, 32, 10);
    for device in all_devices() {
        for (scheme, method) in Scheme::ALL
            .into_iter()
            .flat_map(|s| [(s, Method::Difference), (s, Method::ForwardPass)])
        {
            for wrt in Wrt::ALL {
                // Inputs go up to 3, and a step in the weight moves the logits by that factor. A
                // step of two eps doubles it.
                let reach = if wrt == Wrt::Weight || scheme != Scheme::Central {
                    0.25
                } else {
                    1.0
                };
                let errors: Vec<f64> = [1.0, 0.5, 0.25, 0.125]
                    .map(|eps| {
                        let options = Options {
                            method,
                            scheme,
                            eps: Some(reach * eps),
                            ..Options::default()
                        };
                        error(&problem, wrt, &options, &device)
                    })
                    .to_vec();
                // Errors below this limit are not only truncation.
                let rounding = match (device.natural_precision(), method) {
                    (Precision::F64, _) => 1e-10,
                    (Precision::F32, Method::Difference) => 2e-6,
                    (Precision::F32, Method::ForwardPass) => 1e-3,
                };
                for pair in errors.windows(2).filter(|pair| pair[1] > rounding) {
                    let slope = (pair[0] / pair[1]).log2();
                    let expected = f64::from(scheme.order());
                    assert!(
                        (slope - expected).abs() < 0.1 * expected,
                        "{scheme} {method:?} {wrt:?}: {errors:?}"
                    );
                }
            }
        }
    }
}
