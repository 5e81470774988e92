//! Tests the elementary functions of shaders/functions.wgsl against f64, in ULP.

use super::devices;
use crate::{
    gpu::{
        Element, GpuDevice,
        kernel::{Binding, COMMON, FUNCTIONS, arithmetic},
    },
    scheme::Precision,
};

/// The shader, without the WGSL that it includes.
const KERNEL: &str = "
struct Params {
    count: u32,
    function: u32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> arguments: array<real>;
@group(0) @binding(2) var<storage, read_write> results: array<real>;

@compute @workgroup_size(GROUP)
fn main(place: Place) {
    let i = entry_index(place);
    if (i >= params.count) {
        return;
    }
    let x = arguments[i];
    switch (params.function) {
        case 0u: { results[i] = exp_accurate(x); }
        case 1u: { results[i] = expm1_accurate(x); }
        case 2u: { results[i] = log_accurate(x); }
        default: { results[i] = log1p_accurate(x); }
    }
}
";

fn on_device<T: Element>(device: &GpuDevice, function: usize, arguments: &[T]) -> Vec<T> {
    let name = "functions";
    let bindings = [("arguments", false), ("results", true)];
    let bindings = bindings.map(|(name, is_written)| Binding { name, is_written });
    let source = [arithmetic(T::PRECISION), COMMON, FUNCTIONS, KERNEL].concat();
    let pipeline = device.make_pipeline(name, &source, &bindings, &[]);
    let count = arguments.len();
    let input = device.upload("arguments", arguments);
    let output = device.empty::<T>("results", count);
    let params = [count as u32, function as u32, 0];
    let mut batch = device.batch::<T>();
    batch.dispatch(
        &pipeline,
        name,
        bytemuck::cast_slice(&params),
        &[&input, &output],
        count.div_ceil(64),
    );
    batch.read(&[(&output, count)]).unwrap().remove(0)
}

/// Returns |found - exact| in units in the last place of `exact` as a T. Subnormal values count as
/// the smallest normal value.
fn ulps<T: Element>(found: T, exact: f64) -> f64 {
    let (least, bits) = match T::PRECISION {
        Precision::F32 => (-126.0, 23),
        Precision::F64 => (-1022.0, 52),
    };
    let exponent = exact.abs().log2().floor().max(least);
    (found.f64() - exact).abs() / exponent.exp2() * (1u64 << bits) as f64
}

/// Returns values from `low` to `high`: some evenly spaced, and some of both signs with evenly
/// spaced logarithms.
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

/// Tests each function on its range against its bound in ULP.
fn functions_are_accurate<T: Element>(
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
        // total_cmp sorts NaN last.
        let (worst, at) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let what = format!("{}: {:?} {name}", device.info().name, T::PRECISION);
        println!("{what} {worst:.2} ULP at {at:e}");
        assert!(worst <= bound, "{what}({at:e}) is off by {worst:.2} ULP");
    }
}

#[test]
fn elementary_functions_are_accurate_to_a_few_ulp() {
    for device in devices() {
        // Vulkan lets a division be off by 2.5 ULP, and each logarithm has one.
        functions_are_accurate::<f32>(
            &device,
            [
                ("exp", f64::exp, -87.0, 88.7, 2.0),
                ("expm1", f64::exp_m1, -100.0, 88.7, 2.0),
                ("log", f64::ln, f64::from(f32::MIN_POSITIVE), 3.4e38, 2.0),
                ("log1p", f64::ln_1p, -0.999_999, 1e30, 2.5),
            ],
        );
        if device.has_f64() {
            // The host's library is itself off by up to one ULP.
            functions_are_accurate::<f64>(
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
