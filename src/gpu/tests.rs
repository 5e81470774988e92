//! The elementary functions of shaders/common.wgsl in ULP against f64, on every adapter there is.

use super::{Binding, Element, GpuDevice, Params, adapters};
use crate::scheme::Precision;

/// After the arithmetic and what is common.
const KERNEL: &str = "
@group(0) @binding(1) var<storage, read> arguments: array<real>;
@group(0) @binding(2) var<storage, read_write> results: array<real>;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let i = entry_index(place);
    if (i >= params.rows) {
        return;
    }
    let x = arguments[i];
    switch (params.first) {
        case 0u: { results[i] = exp_accurate(x); }
        case 1u: { results[i] = expm1_accurate(x); }
        case 2u: { results[i] = log_accurate(x); }
        default: { results[i] = log1p_accurate(x); }
    }
}
";

fn on_device<T: Element>(device: &GpuDevice, function: usize, arguments: &[T]) -> Vec<T> {
    let bindings = [Binding::Params, Binding::Read, Binding::Write];
    let arithmetic = match T::PRECISION {
        Precision::F32 => include_str!("../../shaders/f32.wgsl"),
        Precision::F64 => include_str!("../../shaders/f64.wgsl"),
    };
    let source = [
        arithmetic,
        include_str!("../../shaders/common.wgsl"),
        KERNEL,
    ]
    .concat();
    let pipeline = device.make_pipeline("functions", &source, &bindings, &[]);
    let (input, output) = (
        device.upload("arguments", arguments),
        device.empty::<T>("results", arguments.len()),
    );
    let params = Params {
        rows: arguments.len() as u32,
        first: function as u32,
        ..Params::default()
    };
    let mut batch = device.batch::<T>();
    batch.run_pipeline(
        &pipeline,
        "functions",
        &params,
        &[&input, &output],
        arguments.len().div_ceil(64),
    );
    batch.read(&[(&output, arguments.len())]).unwrap().remove(0)
}

/// |found - exact| in units of the last place of a T as large as exact; what is smaller than its normal values counts as the
/// least of them.
fn ulps<T: Element>(found: T, exact: f64) -> f64 {
    let (least, bits) = match T::PRECISION {
        Precision::F32 => (-126.0, 23),
        Precision::F64 => (-1022.0, 52),
    };
    let exponent = exact.abs().log2().floor().max(least);
    (found.f64() - exact).abs() / exponent.exp2() * (1u64 << bits) as f64
}

/// `count` values from `low` to `high`, evenly spread, and of both signs evenly spread in logarithm.
fn arguments<T: Element>(low: f64, high: f64) -> Vec<T> {
    let count = 200_000;
    let share = |i: usize| i as f64 / (count - 1) as f64;
    let even = (0..count).map(|i| low + (high - low) * share(i));
    let small = (0..count).map(|i| 10f64.powf(-30.0 + 30.0 * share(i)));
    let large = (0..count).map(|i| 10f64.powf(high.log10() * share(i)));
    let both = small.chain(large).flat_map(|x| [x, -x]);
    even.chain(both)
        .filter(|x| (low..=high).contains(x))
        .map(T::of)
        .collect()
}

type Function = fn(f64) -> f64;

/// Each with the range that is asked for and what it may be off by.
fn elementary_functions_are_accurate<T: Element>(
    device: &GpuDevice,
    cases: [(&str, Function, f64, f64, f64); 4],
) {
    for (function, (name, exact, low, high, bound)) in cases.into_iter().enumerate() {
        let arguments = arguments::<T>(low, high);
        let results = on_device(device, function, &arguments);
        let errors = arguments
            .iter()
            .zip(&results)
            .map(|(x, &found)| (ulps(found, exact(x.f64())), x.f64()));
        // NaN is larger than everything.
        let (worst, at) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let what = format!("{}: {:?} {name}", device.info().name, T::PRECISION);
        println!("{what} {worst:.2} ULP at {at:e}");
        assert!(worst <= bound, "{what}({at:e}) is off by {worst:.2} ULP");
    }
}

#[test]
fn elementary_functions_are_accurate_to_a_few_ulp() {
    let adapters = adapters();
    assert!(
        !adapters.is_empty()
            || std::env::var_os("GRADPROBE_GPU").is_none_or(|value| value != "require"),
        "GRADPROBE_GPU=require, and there is no adapter"
    );
    for adapter in adapters {
        let device = adapter.open().unwrap();
        // Divisions may be off by 2.5 ULP in Vulkan; the logarithms have one each.
        elementary_functions_are_accurate::<f32>(
            &device,
            [
                ("exp", f64::exp, -87.0, 88.7, 2.0),
                ("expm1", f64::exp_m1, -100.0, 88.7, 2.0),
                ("log", f64::ln, f64::from(f32::MIN_POSITIVE), 3.4e38, 2.0),
                ("log1p", f64::ln_1p, -0.999_999, 1e30, 2.5),
            ],
        );
        if device.has_f64() {
            // Against a library that is itself off by up to one.
            elementary_functions_are_accurate::<f64>(
                &device,
                [
                    ("exp", f64::exp, -708.0, 709.7, 2.0),
                    ("expm1", f64::exp_m1, -800.0, 709.7, 2.5),
                    ("log", f64::ln, f64::MIN_POSITIVE, 1.7e308, 2.0),
                    ("log1p", f64::ln_1p, -0.999_999_999_999, 1e300, 2.5),
                ],
            );
        }
    }
}
