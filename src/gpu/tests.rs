//! The elementary functions of shaders/common.wgsl in ULP against f64, on every adapter there is.

use super::{Binding, Device, Params, adapters};

const SOURCE: &str = concat!(
    include_str!("../../shaders/common.wgsl"),
    "
@group(0) @binding(1) var<storage, read> arguments: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;

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
"
);

fn on_device(device: &Device, function: usize, arguments: &[f32]) -> Vec<f32> {
    let bindings = [Binding::Params, Binding::Read, Binding::Write];
    let pipeline = device.make_pipeline("functions", SOURCE, &bindings, &[]);
    let (input, output) = (
        device.upload("arguments", arguments),
        device.empty("results", arguments.len()),
    );
    let params = Params {
        rows: arguments.len() as u32,
        first: function as u32,
        ..Params::default()
    };
    let mut batch = device.batch();
    batch.run_pipeline(
        &pipeline,
        "functions",
        &params,
        &[&input, &output],
        arguments.len().div_ceil(64),
    );
    batch.read(&[(&output, arguments.len())]).unwrap().remove(0)
}

/// |found - exact| in units of the last place of an f32 as large as exact.
fn ulps(found: f32, exact: f64) -> f64 {
    let exponent = exact.abs().log2().floor().max(-126.0);
    (f64::from(found) - exact).abs() / (exponent - 23.0).exp2()
}

/// `count` values from `low` to `high`, evenly spread, and of both signs evenly spread in logarithm.
fn arguments(low: f64, high: f64) -> Vec<f32> {
    let count = 200_000;
    let share = |i: usize| i as f64 / (count - 1) as f64;
    let even = (0..count).map(|i| low + (high - low) * share(i));
    let small = (0..count).map(|i| 10f64.powf(-30.0 + 30.0 * share(i)));
    let large = (0..count).map(|i| 10f64.powf(high.log10() * share(i)));
    let both = small.chain(large).flat_map(|x| [x, -x]);
    even.chain(both)
        .filter(|x| (low..=high).contains(x))
        .map(|x| x as f32)
        .collect()
}

#[test]
fn elementary_functions_are_accurate_to_a_few_ulp() {
    type Function = fn(f64) -> f64;
    // Divisions may be off by 2.5 ULP in Vulkan; the logarithms have one each.
    let cases: [(&str, Function, f64, f64, f64); 4] = [
        ("exp", f64::exp, -87.0, 88.7, 2.0),
        ("expm1", f64::exp_m1, -100.0, 88.7, 2.0),
        ("log", f64::ln, f64::from(f32::MIN_POSITIVE), 3.4e38, 2.0),
        ("log1p", f64::ln_1p, -0.999_999, 1e30, 2.5),
    ];
    let adapters = adapters();
    assert!(
        !adapters.is_empty()
            || std::env::var_os("GRADPROBE_GPU").is_none_or(|value| value != "require"),
        "GRADPROBE_GPU=require, and there is no adapter"
    );
    for adapter in adapters {
        let device = adapter.open().unwrap();
        for (function, &(name, exact, low, high, bound)) in cases.iter().enumerate() {
            let arguments = arguments(low, high);
            let results = on_device(&device, function, &arguments);
            let errors = arguments
                .iter()
                .zip(&results)
                .map(|(&x, &found)| (ulps(found, exact(f64::from(x))), x));
            // NaN is larger than everything.
            let (worst, at) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            println!("{}: {name} {worst:.2} ULP at {at:e}", device.info().name);
            assert!(
                worst <= bound,
                "{}: {name}({at:e}) is off by {worst:.2} ULP",
                device.info().name
            );
        }
    }
}
