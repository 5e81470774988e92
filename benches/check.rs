//! A whole check in-process: tensors in memory to finished report, comparison included. Throughput is in entries.

#[path = "../tests/common/problems.rs"]
mod problems;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradprobe::{
    check::{self, Options, Subject},
    cpu::Cpu,
    engine::Device,
    gpu,
    loss::Reduction,
    plan::Plan,
    problem::{Problem, Wrt},
    report::Verdict,
    scheme::{CENTRAL, Method, Precision},
    tensor::{Dtype, Tensor},
};

/// As in the program: much of what is allocated is as large as a cache, and is wanted again at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [(usize, usize, usize); 3] = [(4096, 256, 10), (16_384, 784, 10), (1024, 256, 1000)];

/// A right gradient in f32.
fn subject(problem: &Problem) -> Subject {
    let plan = Plan::new(
        problem,
        Wrt::Input,
        Method::Difference,
        CENTRAL,
        None,
        Precision::F64,
        Dtype::F64,
    );
    let gradient: Vec<f32> = Cpu::new(problem, plan)
        .backward(0..problem.n())
        .iter()
        .map(|&v| v as f32)
        .collect();
    let gradient = Tensor::from_f32(&[problem.n(), problem.d()], &gradient);
    Subject {
        wrt: Wrt::Input,
        gradient: Some(gradient),
    }
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10);
    let mut devices = vec![("cpu", Device::Cpu { note: None })];
    for adapter in gpu::adapters() {
        let device = adapter.open().expect("the adapter passes its self-probe");
        devices.push(("gpu", Device::Gpu(Box::new(device))));
    }
    for (n, d, k) in SIZES {
        let problem = problems::random(1, n, d, k, 1.0, Reduction::Mean);
        let subjects = [subject(&problem)];
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
