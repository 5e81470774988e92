//! A whole check in-process: tensors in memory to finished report, comparison included. Throughput is in entries.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradprobe::{
    bench::{self, Sizes},
    check::{self, Options},
    device::Device,
    gpu,
    report::Verdict,
};

/// As in the program: much of what is allocated is as large as a cache, and is wanted again at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        let (problem, subject) = bench::case(Sizes { n, d, k }).expect("sizes that are not 0");
        let subjects = [subject];
        group.throughput(Throughput::Elements((n * d) as u64));
        for (kind, device) in &devices {
            let name = BenchmarkId::new(*kind, format!("{n}x{d}x{k} {}", device.info().name));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let report =
                        check::check(&problem, &subjects, &Options::default(), device, &mut ());
                    let report = report.expect("a right gradient on a probed device");
                    assert_eq!(report.verdict(), Verdict::Pass);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
