//! A check takes no more memory than is said of it beforehand, and where it takes much not much less.

#![cfg(target_os = "linux")]

use std::path::Path;

use crate::service::Service;
use gradprobe::{check, io, settings::Settings};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

/// What a process has and maps that checks nothing, and a little.
const BESIDE: u64 = 96 << 20;

/// A problem in f16, [n, d, k], and a gradient, if it is named, that is wrong everywhere.
fn body(path: &Path, [n, d, k]: [usize; 3], grad: Option<&str>) {
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

#[test]
fn a_check_takes_no_more_memory_than_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body.safetensors");
    for (sizes, grad, query) in [
        ([8, 1024, 8192], None, "wrt=input"),
        ([8, 1024, 8192], None, "wrt=input&scheme=five-point"),
        ([8, 1024, 2048], Some("grad"), ""),
        ([16, 1024, 4096], None, "wrt=weight"),
        ([64, 1, 100_000], None, "wrt=input"),
        ([64, 50_000, 2], Some("grad"), ""),
        ([64, 2, 20_000], Some("grad_logits"), ""),
        ([64, 1, 100_000], None, "wrt=logits"),
        ([16, 512, 2048], None, "wrt=weight"),
        ([4, 512, 2048], Some("grad_weight"), ""),
        ([300, 1, 20_000], None, "wrt=bias"),
        ([4, 4000, 3], None, "wrt=input&method=forward-pass"),
        ([4, 3, 4000], None, "wrt=logits&method=forward-pass"),
        ([1_000_000, 1, 2], Some("grad"), ""),
    ] {
        body(&path, sizes, grad);
        let pairs: Vec<(String, String)> = query
            .split_terminator('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let settings = Settings::parse(&pairs).unwrap();
        let source = io::Source::File(path.clone());
        let case = settings.load(&source, 1 << 30, None).unwrap();
        let said = check::memory(&case.problem, &case.subjects, &settings.options(false));

        let service = Service::start(&folder.path().join("data"), &["--device", "cpu"]);
        let bytes = std::fs::read(&path).unwrap();
        let started = std::time::Instant::now();
        let job = service.wait_for(&service.post(query, &bytes).id());
        assert_eq!(job["state"], "done", "{job}");
        let taken = service.peak_memory();
        println!(
            "{sizes:?} {grad:?} {query}: {} MB of {} MB and the body's {} MB, {:?}",
            taken >> 20,
            said >> 20,
            bytes.len() >> 20,
            started.elapsed()
        );
        let most = said + bytes.len() as u64 + BESIDE;
        assert!(taken <= most, "{sizes:?} {grad:?} {query}: {taken} bytes");
        // What is made of a weight is what fills a memory.
        let is_weight = sizes[1] * sizes[2] >= 1 << 22;
        assert!(
            !is_weight || said <= 2 * taken,
            "{sizes:?} {grad:?} {query}: {said} bytes"
        );
    }
}
