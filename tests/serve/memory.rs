//! The estimate of a check's memory against the peak memory of a service: never too low, and for
//! large weights at most twice too high.

#![cfg(target_os = "linux")]

use std::{collections::HashMap, path::Path};

use crate::service::Service;
use gradprobe::{io, settings::Settings};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

/// Memory of a process that checks nothing, with a margin.
const IDLE: u64 = 96 << 20;

/// Writes a problem in f16 of size [n, d, k]. The gradient, if one is named, is wrong everywhere.
fn write_body(path: &Path, [n, d, k]: [usize; 3], grad: Option<&str>) {
    let values = |count: usize| -> Vec<u8> {
        let value = |i: usize| half::f16::from_f64((i as f64 * 0.7).sin() / 100.0);
        (0..count).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let target: Vec<u8> = (0..n).map(|i| (i % k.min(256)) as u8).collect();
    let shapes = [
        ("input", vec![n, d]),
        ("weight", vec![k, d]),
        ("bias", vec![k]),
    ];
    let grads = [
        ("grad", vec![n, d]),
        ("grad_logits", vec![n, k]),
        ("grad_weight", vec![k, d]),
        ("grad_bias", vec![k]),
    ];
    let grads = grads.into_iter().filter(|(name, _)| grad == Some(name));
    let tensors: Vec<_> = shapes
        .into_iter()
        .chain(grads)
        .map(|(name, shape)| {
            let count = shape.iter().product();
            (name, shape, values(count))
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            *name,
            TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap(),
        )
    });
    let target = TensorView::new(Dtype::U8, vec![n], &target).unwrap();
    serialize_to_file(views.chain([("target", target)]), None, path).unwrap();
}

/// Writes a network in f16: [n, width] through this many layers. The gradients are wrong.
fn write_network(path: &Path, [n, width, layers]: [usize; 3], gradients: &[&str]) {
    let values = |count: usize, scale: f64| -> Vec<u8> {
        let value = |i: usize| half::f16::from_f64((i as f64 * 0.7).sin() * scale);
        (0..count).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let mut tensors = vec![
        ("input".to_owned(), vec![n, width], values(n * width, 1.0)),
        ("target".to_owned(), vec![n, width], values(n * width, 0.5)),
    ];
    let mut chain = Vec::new();
    for layer in 0..layers {
        chain.push(format!("linear:{layer} tanh"));
        let weight = values(width * width, 1.0 / width as f64);
        tensors.push((format!("{layer}.weight"), vec![width, width], weight));
    }
    chain.push("mse_loss".to_owned());
    for name in gradients {
        let rows = if name.ends_with("weight") { width } else { n };
        tensors.push((
            format!("grad.{name}"),
            vec![rows, width],
            values(rows * width, 0.1),
        ));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap(),
        )
    });
    let model = HashMap::from([("model".to_owned(), chain.join(" "))]);
    serialize_to_file(views, Some(model), path).unwrap();
}

/// Returns the estimate for the check of a file, and the memory that a service takes for it.
fn measure(folder: &Path, path: &Path, query: &str) -> (u64, u64) {
    let estimated = estimate(path, query);
    let service = Service::start(&folder.join("data"), &["--device", "cpu"]);
    let bytes = std::fs::read(path).unwrap();
    let started = std::time::Instant::now();
    let job = service.wait_for(&service.post(query, &bytes).id());
    assert_eq!(job["state"], "done", "{job}");
    let taken = service.peak_memory();
    let report = &job["report"]["problem"];
    println!(
        "{report} {query}: {} MiB taken, {} estimated and {} of the body, {:?}",
        taken >> 20,
        estimated >> 20,
        bytes.len() >> 20,
        started.elapsed()
    );
    let bound = estimated + bytes.len() as u64 + IDLE;
    assert!(taken <= bound, "{report} {query}: {taken} bytes");
    (estimated, taken)
}

/// Returns the estimate for the check of a file.
fn estimate(path: &Path, query: &str) -> u64 {
    let pairs: Vec<(String, String)> = query
        .split_terminator('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::parse(&pairs).unwrap();
    let source = io::Source::File(path.to_owned());
    let case = settings.load(&source, 1 << 30, None).unwrap();
    case.memory(&settings.options(false))
}

#[test]
fn the_estimate_bounds_the_memory_of_a_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body.safetensors");
    for (sizes, grad, query) in [
        ([8, 512, 8192], None, "wrt=input&self-test=true"),
        (
            [8, 512, 8192],
            None,
            "wrt=input&scheme=five-point&self-test=true",
        ),
        ([8, 1024, 2048], Some("grad"), ""),
        ([16, 1024, 4096], None, "wrt=weight&self-test=true"),
        ([64, 1, 50_000], None, "wrt=input&self-test=true"),
        ([64, 50_000, 2], Some("grad"), ""),
        ([64, 2, 20_000], Some("grad_logits"), ""),
        ([64, 1, 50_000], None, "wrt=logits&self-test=true"),
        ([16, 512, 2048], None, "wrt=weight&self-test=true"),
        ([4, 512, 2048], Some("grad_weight"), ""),
        ([300, 1, 10_000], None, "wrt=bias&self-test=true"),
        (
            [4, 4000, 3],
            None,
            "wrt=input&method=forward-pass&self-test=true",
        ),
        (
            [4, 3, 4000],
            None,
            "wrt=logits&method=forward-pass&self-test=true",
        ),
        ([1_000_000, 1, 2], Some("grad"), ""),
    ] {
        write_body(&path, sizes, grad);
        let (estimated, taken) = measure(folder.path(), &path, query);
        // The tables of a large weight take most of the memory.
        let is_large_weight = sizes[1] * sizes[2] >= 1 << 22;
        assert!(
            !is_large_weight || estimated <= 2 * taken,
            "{sizes:?} {grad:?} {query}: {estimated} bytes"
        );
    }
}

#[test]
fn the_estimate_bounds_the_memory_of_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body.safetensors");
    for (sizes, gradients) in [
        ([64, 1024, 6], &["input", "0.weight", "3.weight"][..]),
        ([64, 1536, 2], &["0.weight", "1.weight"]),
        ([4_000, 256, 4], &["input"]),
        ([20_000, 64, 8], &["input", "7.weight"]),
        ([1, 2048, 2], &["tanh"]),
    ] {
        write_network(&path, sizes, gradients);
        let (estimated, taken) = measure(folder.path(), &path, "");
        assert!(estimated <= 3 * taken, "{sizes:?}: {estimated} bytes");
    }
}
