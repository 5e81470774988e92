//! The estimate of a check's memory against the peak memory of a service: never too low, and for
//! large weights at most twice too high.

#![cfg(target_os = "linux")]

use std::path::Path;

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
        let estimated = estimate(&path, query);
        let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
        let bytes = std::fs::read(&path).unwrap();
        let started = std::time::Instant::now();
        let job = service.wait_for(&service.post(query, &bytes).id());
        assert_eq!(job["state"], "done", "{job}");
        let taken = service.peak_memory();
        println!(
            "{sizes:?} {grad:?} {query}: {} MiB taken, {} estimated and {} of the body, {:?}",
            taken >> 20,
            estimated >> 20,
            bytes.len() >> 20,
            started.elapsed()
        );
        let bound = estimated + bytes.len() as u64 + IDLE;
        assert!(taken <= bound, "{sizes:?} {grad:?} {query}: {taken} bytes");
        // The tables of a large weight take most of the memory.
        let is_large_weight = sizes[1] * sizes[2] >= 1 << 22;
        assert!(
            !is_large_weight || estimated <= 2 * taken,
            "{sizes:?} {grad:?} {query}: {estimated} bytes"
        );
    }
}
