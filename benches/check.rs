//! Benchmarks a whole check, from tensors in memory to the finished report. Throughput is in
//! entries of the gradient.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradprobe::{
    bench::{self, Sizes},
    check::{self, Options},
    device::Device,
    gpu,
    report::Verdict,
};

/// The program's allocator. A check frees and allocates large buffers all the time; mimalloc reuses
/// them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// n, d and k: small, memory-bound, and with many classes.
const SIZES: [(usize, usize, usize); 3] = [(4096, 256, 10), (16_384, 784, 10), (1024, 256, 1000)];

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10);
    let mut devices = vec![("cpu", Device::Cpu { note: None })];
    for adapter in gpu::adapters() {
        let device = adapter.open().expect("the adapter passes its self-probe");
        devices.push(("gpu", Device::Gpu(Box::new(device))));
    }
    for (n, d, k) in SIZES {
        let (problem, subject) = bench::case(Sizes { n, d, k }).expect("no size is 0");
        let subjects = [subject];
        group.throughput(Throughput::Elements((n * d) as u64));
        for (kind, device) in &devices {
            let name = BenchmarkId::new(*kind, format!("{n}x{d}x{k} {}", device.info().name));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let report =
                        check::check(&problem, &subjects, &Options::default(), device, &mut ());
                    let report = report.expect("the device passed its self-probe");
                    assert_eq!(report.verdict, Verdict::Pass);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
