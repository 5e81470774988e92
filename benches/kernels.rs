//! Benchmarks the kernels one by one, on the host and on every adapter, and the transfer of their
//! operands. Throughput is in entries of the gradient with respect to the input.

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use gradprobe::{
    cpu::{
        difference::{Growths, difference},
        logits,
        matmul::matmul,
    },
    gpu::{
        self, Buffer, GpuDevice,
        kernel::{
            Launch, difference::Difference, logits::Logits, matmul::Matmul, params::Steps,
            residual::Residual,
        },
    },
    loss::TargetRows,
};

/// n, d and k: memory-bound, and with many classes.
const SIZES: [(usize, usize, usize); 2] = [(4096, 256, 10), (256, 256, 1000)];
/// A small step, 2^-24, like the automatic step in f64.
const STEP: f64 = 1.0 / 16_777_216.0;

fn wave(count: usize) -> Vec<f64> {
    (0..count).map(|i| (i as f64 * 0.7).sin()).collect()
}

fn wave_f32(count: usize) -> Vec<f32> {
    wave(count).iter().map(|&v| v as f32).collect()
}

fn host(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("host, one thread");
    for (n, d, k) in SIZES {
        let (input, weight, bias) = (wave(n * d), wave(k * d), wave(k));
        let left = wave(n * k);
        let growths = Growths::new(&weight, d, &[(STEP, 0.5), (-STEP, 0.5)]);
        let mut derivative = Vec::new();
        let targets = TargetRows {
            labels: vec![0; n],
            totals: vec![1.0; n],
            linear: None,
        };
        let name = |kernel| BenchmarkId::new(kernel, format!("{n}x{d}x{k}"));
        group.throughput(Throughput::Elements((n * d) as u64));
        group.bench_function(name("logits"), |bencher| {
            bencher.iter(|| logits::logits(&input, &weight, &bias, d));
        });
        group.bench_function(name("matmul"), |bencher| {
            bencher.iter(|| matmul(&left, &weight, d));
        });
        group.bench_function(name("difference"), |bencher| {
            bencher.iter(|| difference(&mut derivative, &left, &growths, &targets, None));
        });
    }
    group.finish();
}

fn adapters(criterion: &mut Criterion) {
    for adapter in gpu::adapters() {
        let device = adapter.open().expect("the adapter passes its self-probe");
        let mut group = criterion.benchmark_group(&device.info().name);
        group.sample_size(10);
        for size in SIZES {
            group.throughput(Throughput::Elements((size.0 * size.1) as u64));
            kernels(&mut group, &device, size);
            transfer(&mut group, &device, size);
        }
        group.finish();
    }
}

/// Benchmarks each kernel of a difference with respect to the input.
fn kernels(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &GpuDevice,
    (n, d, k): (usize, usize, usize),
) {
    let operand = |count: usize| device.upload("operand", &wave_f32(count));
    let (input, weight, bias, totals) = (operand(n * d), operand(k * d), operand(k), operand(n));
    let labels = device.upload("labels", &vec![0u32; n]);
    let of_logits: [Buffer; 5] = std::array::from_fn(|_| operand(n * k));
    let [z, magnitude, residual, gradient, weights] = &of_logits;
    let (bounds, result, nothing) = (operand(2 * n), operand(n * d), [operand(4), operand(4)]);
    let [linear, carried] = &nothing;
    let growths = operand(2 * k * d);
    let (rows, columns, classes) = (n as u32, d as u32, k as u32);
    let logits = Logits {
        rows,
        columns,
        classes,
        class_begin: 0,
        class_end: classes,
        tile_begin: 0,
        tile_end: columns,
    };
    let softmax = Residual {
        sums: 1.0,
        alike: 0.0,
        at_max: 0.5,
        lost_at_max: 0.0,
        unit_roundoff: 6e-8,
        accumulation: 1.0,
        rows,
        classes,
        has_linear: 0,
    };
    let product = Matmul {
        normalizer: 1.0,
        rows,
        columns,
        classes,
        class_begin: 0,
        tile_begin: 0,
        tile_end: classes,
        magnitudes: 0,
    };
    let derivative = Difference {
        steps: Steps::new([(STEP, 0.5), (-STEP, 0.5)]),
        rows,
        columns,
        classes,
        class_begin: 0,
        class_end: classes,
        tile_begin: 0,
        tile_end: classes,
        has_linear: 0,
    };
    let of_softmax = vec![
        z, magnitude, &labels, &totals, linear, residual, gradient, weights, &bounds,
    ];
    let of_derivative = vec![
        residual, &growths, &labels, &totals, linear, carried, &result,
    ];
    let launches: [(&dyn Launch, Vec<&Buffer>); 4] = [
        (&logits, vec![&input, &weight, &bias, z, magnitude]),
        (&softmax, of_softmax),
        (&product, vec![residual, &weight, &result]),
        (&derivative, of_derivative),
    ];
    let size = format!("{n}x{d}x{k}");
    for (launch, operands) in &launches {
        let name = launch.kernel().name;
        group.bench_function(BenchmarkId::new(name, &size), |bencher| {
            bencher.iter(|| {
                let mut batch = device.batch::<f32>();
                batch.run(*launch, operands);
                batch.read(&[(operands[operands.len() - 1], 1)])
            });
        });
    }
}

/// Benchmarks the upload of an input and its way back.
fn transfer(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &GpuDevice,
    (n, d, k): (usize, usize, usize),
) {
    let size = format!("{n}x{d}x{k}");
    let rows = wave_f32(n * d);
    let input = device.upload("operand", &rows);
    group.bench_function(BenchmarkId::new("there and back", &size), |bencher| {
        bencher.iter(|| {
            device.write(&input, &rows);
            device.batch::<f32>().read(&[(&input, n * d)])
        });
    });
}

criterion_group!(benches, host, adapters);
criterion_main!(benches);
