//! Every kernel equals its CPU twin: kernel by kernel from the table, then the engines as a whole. The twins compute in
//! f64 on the same operands; what is allowed is u = 2^-24 times the length of the sums times their magnitudes.

use std::marker::PhantomData;

use crate::devices::devices;
use crate::problems::{normal, random};
use gradprobe::{
    cpu::{
        self, Cpu,
        compare::{BLOCK_ROWS, ComparedRows},
        difference::Growths,
    },
    engine::{Allowance, Evaluation, Values},
    gpu::{
        Buffer, ComparisonPass, Element, Gpu, GpuDevice, Kernel, Params, TILE_COLUMNS, disagreement,
    },
    loss::{CrossEntropy, NO_LABEL, Reduction, TargetRows},
    plan::{Differentiation, Plan},
    problem::{Problem, Wrt},
    report::DeviceKind,
    rounding::RoundingModel,
    scheme::{Method, Precision},
    tensor::Tensor,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const U: f64 = 5.960_464_477_539_063e-8;

const LAW: RoundingModel = RoundingModel {
    sums: 1.5,
    accumulation: 0.25,
};

/// n, d, k: below and above a workgroup's 64 threads, a multiple of nothing, one of everything.
const SIZES: [(usize, usize, usize); 5] = [
    (1, 1, 1),
    (7, 5, 3),
    (33, 100, 10),
    (9, 17, 65),
    (3, 40, 700),
];

struct Twin<'a, T> {
    device: &'a GpuDevice,
    rng: ChaCha8Rng,
    arithmetic: PhantomData<T>,
    n: usize,
    d: usize,
    k: usize,
}

impl<T: Element> Twin<'_, T> {
    /// The unit roundoff.
    const U: f64 = match T::PRECISION {
        Precision::F32 => U,
        Precision::F64 => U / (1u64 << 29) as f64,
    };

    fn normal(&mut self, count: usize) -> Vec<f64> {
        normal(&mut self.rng, count, 1.0)
    }

    fn upload(&self, values: &[f64]) -> Buffer {
        let values: Vec<T> = values.iter().map(|&v| T::of(v)).collect();
        self.device.upload("operand", &values)
    }

    /// Targets of which some are a class alone, some ignored, and some spread over all classes.
    fn target_rows(&mut self) -> (TargetRows<f64>, [Buffer; 3]) {
        let (n, k) = (self.n, self.k);
        let total = |row: usize| [1.0, 0.75, 0.0][row % 3];
        let labels = (0..n).map(|row| match row % 3 {
            0 => self.rng.random_range(0..k as u32),
            1 => NO_LABEL,
            _ => NO_LABEL,
        });
        let labels: Vec<u32> = labels.collect();
        let totals: Vec<f64> = (0..n).map(total).collect();
        let spread = |entry: usize| {
            if entry / k % 3 == 1 {
                -0.75 / k as f64
            } else {
                0.0
            }
        };
        let linear: Vec<f64> = (0..n * k)
            .map(|entry| f64::from(spread(entry) as f32))
            .collect();
        let buffers = [
            self.device.upload("labels", &labels),
            self.upload(&totals),
            self.upload(&linear),
        ];
        (
            TargetRows {
                labels,
                totals,
                linear: Some(linear),
            },
            buffers,
        )
    }

    /// Runs the kernel; the last `lengths.len()` operands are what it writes.
    fn run(
        &self,
        kernel: Kernel,
        params: Params,
        inputs: &[&Buffer],
        lengths: &[usize],
    ) -> Vec<Vec<f64>> {
        let outputs: Vec<Buffer> = lengths
            .iter()
            .map(|&length| self.device.empty::<T>("result", length))
            .collect();
        let operands: Vec<&Buffer> = inputs.iter().copied().chain(&outputs).collect();
        let mut batch = self.device.batch::<T>();
        batch.run(kernel, params, &operands);
        let wanted: Vec<(&Buffer, usize)> = outputs.iter().zip(lengths.iter().copied()).collect();
        let results = batch.read(&wanted).unwrap();
        results
            .into_iter()
            .map(|values| values.into_iter().map(|v| v.f64()).collect())
            .collect()
    }

    fn params(&self, columns: usize, sum_length: usize) -> Params {
        Params {
            rows: self.n as u32,
            columns: columns as u32,
            classes: self.k as u32,
            class_end: self.k as u32,
            tile_end: sum_length as u32,
            has_linear: 1,
            law_sums: LAW.sums,
            law_accumulation: LAW.accumulation,
            ..Params::default()
        }
    }

    /// |found - expected| <= bound, entry by entry.
    fn compare(&self, what: &str, found: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (error, bound) = ((found - expected).abs(), bound(i));
            let (n, d, k) = (self.n, self.d, self.k);
            assert!(
                error <= bound,
                "{what}, {n}x{d}x{k}, entry {i}: {found:e}, {expected:e}, {error:e} > {bound:e}"
            );
        }
    }

    /// A gradient that is right to rounding, but for an entry in twenty.
    fn comparison(&mut self) {
        // More than one block of rows, the last of them short.
        let (n, m) = (self.n * 40, self.d);
        let round = |v: f64| T::of(v).f64();
        let derivative: Vec<f64> = self.normal(n * m).iter().map(|&v| round(v)).collect();
        let wide = |v: f64| round(v.abs() * 3.0 + 0.1);
        let conditioning: Vec<f64> = derivative.iter().map(|&v| wide(v)).collect();
        let bounds: Vec<f64> = self.normal(2 * n).iter().map(|&v| wide(v)).collect();
        let noise: Vec<f64> = self.normal(m).iter().map(|&v| wide(v) * Self::U).collect();
        for (given, is_wrong) in [(None, false), (None, true), (Some([2e-3, 1e-3]), true)] {
            let allowance = Allowance {
                normalizer: 3.0,
                slack: 8.0 * Self::U,
                unit_roundoff: Self::U,
                rounding: 100.0 * Self::U,
                drift: 10.0 * Self::U,
                floor: 1e-9 * Self::U,
                given,
                noise: noise.clone(),
                noise_by_magnitude: Self::U * Self::U,
                noise_drift: Self::U,
                noise_floor: 1e-9 * Self::U,
            };
            let analytic: Vec<f64> = (0..n * m)
                .map(|entry| {
                    let factor = if is_wrong && entry % 20 == 7 {
                        1.125
                    } else {
                        1.0
                    };
                    round(factor * derivative[entry] / 3.0)
                })
                .collect();
            let comparing = ComparisonPass::new::<T>(self.device, &allowance, n, m);
            let params = Params {
                rows: n as u32,
                ..self.params(m, m)
            };
            let made = [&derivative, &conditioning, &bounds].map(|values| self.upload(values));
            let mut batch = self.device.batch::<T>();
            let gradient = analytic.iter().map(|&v| T::of(v)).collect();
            comparing.run(&mut batch, params, gradient, made.each_ref());
            let results = batch.submit(&comparing.results::<T>(n));
            let results = results.wait(self.device).unwrap();
            let found = comparing.read::<T>(5..5 + n, &results);
            let compared = ComparedRows {
                analytic: &analytic,
                derivative: &derivative,
                conditioning: &conditioning,
                bounds: &bounds,
            };
            let expected = cpu::compare::compare(5..5 + n, &compared, &allowance);
            assert!(is_wrong == (expected.suspects > 0) || n * m < 20);
            assert_eq!(found.blocks.len(), n.div_ceil(BLOCK_ROWS));
            let apart = disagreement::<T>(&found, &expected, allowance.slack);
            assert_eq!(
                apart, None,
                "compare, {n}x{m}, {given:?}: {found:?} {expected:?}"
            );
        }
    }

    /// Compares one kernel with its twin. A kernel that the table gains does not compile without an arm here.
    fn kernel(&mut self, kernel: Kernel) {
        let (n, k) = (self.n, self.k);
        // The tiles of products take columns four at a time.
        let d = match kernel {
            Kernel::Logits | Kernel::Matmul | Kernel::Difference => {
                self.d.next_multiple_of(TILE_COLUMNS)
            }
            _ => self.d,
        };
        match kernel {
            Kernel::Logits => {
                let (x, w, b) = (self.normal(n * d), self.normal(k * d), self.normal(k));
                let inputs = [&self.upload(&x), &self.upload(&w), &self.upload(&b)];
                let found = self.run(kernel, self.params(d, d), &inputs, &[n * k, n * k]);
                let expected = cpu::logits::logits(&x, &w, &b, d);
                let bound = |i: usize| (d as f64 / 16.0 + 8.0) * Self::U * expected.magnitude[i];
                self.compare("logits", &found[0], &expected.logits, bound);
                self.compare("magnitude", &found[1], &expected.magnitude, bound);
            }
            Kernel::Residual => {
                let z: Vec<f64> = self.normal(n * k).iter().map(|z| z * 4.0).collect();
                let magnitude: Vec<f64> = z.iter().map(|z| z.abs() * 2.0).collect();
                let (targets, [labels, totals, linear]) = self.target_rows();
                let inputs = [
                    &self.upload(&z),
                    &self.upload(&magnitude),
                    &labels,
                    &totals,
                    &linear,
                ];
                let lengths = [n * k, n * k, n * k, n * 2];
                let found = self.run(kernel, self.params(k, k), &inputs, &lengths);
                let expected = cpu::residual::residual(&z, &magnitude, &targets, LAW, k);
                // The exponent z - max is rounded, to u times itself.
                let bound = |i: usize| 40.0 * Self::U * expected.residual[i].abs();
                self.compare("residual", &found[0], &expected.residual, bound);
                let bound = |i: usize| 40.0 * Self::U * expected.conditioning[i];
                self.compare("gradient", &found[1], &expected.gradient, bound);
                self.compare("conditioning", &found[2], &expected.conditioning, bound);
                let bound = |i: usize| 2.0 * Self::U * expected.bounds[i];
                self.compare("bounds", &found[3], &expected.bounds, bound);
            }
            Kernel::Matmul => {
                let (left, right) = (self.normal(n * k), self.normal(k * d));
                let inputs = [&self.upload(&left), &self.upload(&right)];
                let params = Params {
                    normalizer: 3.0,
                    ..self.params(d, k)
                };
                let found = self.run(kernel, params, &inputs, &[n * d]);
                let thirds =
                    |product: Vec<f64>| product.into_iter().map(|v| v / 3.0).collect::<Vec<f64>>();
                let magnitudes = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
                let expected = thirds(cpu::matmul::matmul(&left, &right, d));
                let magnitude = thirds(cpu::matmul::matmul(
                    &magnitudes(&left),
                    &magnitudes(&right),
                    d,
                ));
                self.compare("matmul", &found[0], &expected, |i| {
                    (k as f64 / 4.0 + 8.0) * Self::U * magnitude[i]
                });
                let params = Params {
                    magnitudes: 1,
                    ..self.params(d, k)
                };
                let found = self.run(kernel, params, &inputs, &[n * d]);
                let expected = cpu::matmul::matmul(&left, &magnitudes(&right), d);
                self.compare("matmul of magnitudes", &found[0], &expected, |i| {
                    (k as f64 / 4.0 + 8.0) * Self::U * magnitude[i] * 3.0
                });
            }
            Kernel::Difference => {
                let residual = self
                    .normal(n * k)
                    .iter()
                    .map(|r| r / k as f64)
                    .collect::<Vec<f64>>();
                let residual: Vec<f64> = residual.iter().map(|&r| f64::from(r as f32)).collect();
                let magnitudes = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
                for step in [2f64.powi(-12), 0.0625] {
                    let growth: Vec<T> = cpu::difference::growth(&self.normal(k * d), step);
                    let growth: Vec<f64> = growth.into_iter().map(|v| v.f64()).collect();
                    let product = self.normal(n * d);
                    let (targets, [labels, totals, _]) = self.target_rows();
                    let inputs = [
                        &self.upload(&residual),
                        &self.upload(&growth),
                        &labels,
                        &totals,
                        &self.upload(&product),
                    ];
                    let params = self.params(d, k).with_steps([(step, 1.0)].into_iter());
                    let found = self.run(kernel, params, &inputs, &[1, n * d]);
                    let mut expected = Vec::new();
                    cpu::difference::difference(
                        &mut expected,
                        &residual,
                        &Growths::of_table(&growth, d, (step, 1.0)),
                        &targets,
                        Some(&product),
                    );
                    let magnitude =
                        cpu::matmul::matmul(&magnitudes(&residual), &magnitudes(&growth), d);
                    // 1 + step·growth is at most 0.3 from 1, and log1p near its argument.
                    let bound = |i: usize| {
                        (k as f64 / 4.0 + 12.0) * 1.5 * Self::U * (magnitude[i] + product[i].abs())
                    };
                    self.compare("difference", &found[1], &expected, bound);
                }
            }
            Kernel::DifferenceLogits => {
                let residual: Vec<f64> = self.normal(n * k).iter().map(|r| r / 4.0).collect();
                let (targets, [labels, totals, linear]) = self.target_rows();
                for step in [-2f64.powi(-13), 0.125] {
                    let params = self.params(k, k).with_steps([(step, 1.0)].into_iter());
                    let inputs = [&self.upload(&residual), &labels, &totals, &linear];
                    let found = self.run(kernel, params, &inputs, &[n * k]);
                    let expected =
                        cpu::difference::difference_logits(&residual, &[(step, 1.0)], &targets, k);
                    self.compare("difference_logits", &found[0], &expected, |i| {
                        16.0 * Self::U * (residual[i].abs() + 1.0 / k as f64)
                    });
                }
            }
            Kernel::DifferenceWeight => {
                let residual: Vec<f64> = self.normal(n * k).iter().map(|r| r / 4.0).collect();
                let residual: Vec<f64> = residual.iter().map(|&r| f64::from(r as f32)).collect();
                let input = self.normal(n * d);
                let (targets, [labels, totals, linear]) = self.target_rows();
                let magnitudes = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
                let weights: Vec<f64> = residual.iter().map(|r| r.abs() + 1.0 / k as f64).collect();
                for step in [2f64.powi(-12), -0.03125] {
                    let params = self.params(d, n).with_steps([(step, 1.0)].into_iter());
                    let inputs = [
                        &self.upload(&residual),
                        &self.upload(&input),
                        &labels,
                        &totals,
                        &linear,
                    ];
                    let found = self.run(kernel, params, &inputs, &[k * d]);
                    let expected = cpu::difference_weight::difference_weight(
                        &residual,
                        &input,
                        &[(step, 1.0)],
                        &targets,
                        k,
                        d,
                    );
                    let magnitude = cpu::outer::outer(&weights, &magnitudes(&input), k, d);
                    self.compare("difference_weight", &found[0], &expected, |i| {
                        (n as f64 / 8.0 + 16.0) * Self::U * magnitude[i]
                    });
                }
            }
            Kernel::Outer => {
                let (left, right) = (self.normal(n * k), self.normal(n * d));
                let inputs = [&self.upload(&left), &self.upload(&right)];
                let magnitudes = |v: &[f64]| v.iter().map(|v| v.abs()).collect::<Vec<f64>>();
                let magnitude = cpu::outer::outer(&magnitudes(&left), &magnitudes(&right), k, d);
                let bound = |i: usize| (n as f64 / 8.0 + 8.0) * Self::U * magnitude[i];
                let found = self.run(kernel, self.params(d, n), &inputs, &[k * d]);
                self.compare(
                    "outer",
                    &found[0],
                    &cpu::outer::outer(&left, &right, k, d),
                    bound,
                );
                let params = Params {
                    magnitudes: 1,
                    ..self.params(d, n)
                };
                let found = self.run(kernel, params, &inputs, &[k * d]);
                self.compare(
                    "outer of magnitudes",
                    &found[0],
                    &cpu::outer::outer(&left, &magnitudes(&right), k, d),
                    bound,
                );
            }
            Kernel::Perturb => {
                let base = self.normal(n * d);
                let (first, copies) = (d / 2, n * d - d / 2);
                let params = Params {
                    rows: copies as u32,
                    first: first as u32,
                    ..self.params(d, d)
                }
                .with_steps([(1e-3, 1.0)].into_iter());
                let found = self.run(kernel, params, &[&self.upload(&base)], &[copies * d]);
                let rows = base.chunks_exact(d);
                let rows = rows.map(|row| row.iter().map(|&v| T::of(v)).collect::<Vec<T>>());
                let expected: Vec<T> = rows
                    .flat_map(|row| cpu::perturb::perturb(&row, T::of(1e-3), 0..d))
                    .collect();
                let expected: Vec<f64> = expected[first * d..].iter().map(|v| v.f64()).collect();
                self.compare("perturb", &found[0], &expected, |_| 0.0);
            }
            Kernel::Compare => self.comparison(),
            Kernel::Loss => {
                // Three copies a sample, from the second entry on.
                let (copies, first) = (3 * n - 1, 1);
                let z: Vec<f64> = self.normal(copies * k).iter().map(|z| z * 4.0).collect();
                let (targets, [labels, totals, linear]) = self.target_rows();
                let params = Params {
                    rows: copies as u32,
                    first,
                    ..self.params(3, k)
                };
                let inputs = [&self.upload(&z), &labels, &totals, &linear];
                let found = self.run(kernel, params, &inputs, &[3 * n]);
                let expected = cpu::loss::loss(&z, &targets, first as usize, 3, k);
                // Logits reach 20; the logarithm's argument is a sum of up to k exponentials, each off by 20 u or so.
                self.compare("loss", &found[0][1..], &expected, |_| 80.0 * Self::U);
            }
        }
    }
}

fn every_kernel_equals_its_twin<T: Element>(device: &GpuDevice) {
    for (n, d, k) in SIZES {
        for kernel in Kernel::ALL {
            let rng = ChaCha8Rng::seed_from_u64(kernel as u64);
            Twin::<T> {
                device,
                rng,
                arithmetic: PhantomData,
                n,
                d,
                k,
            }
            .kernel(kernel);
        }
    }
}

/// The variants for software adapters and for real GPUs, whichever the adapter is.
fn with_all_variants(test: impl Fn(&GpuDevice)) {
    for mut device in devices() {
        for kind in [DeviceKind::Software, DeviceKind::Gpu] {
            device.suit(kind);
            test(&device);
        }
    }
}

#[test]
fn every_kernel_equals_its_twin_in_f32() {
    with_all_variants(every_kernel_equals_its_twin::<f32>);
}

/// Where the adapter has it: lavapipe does.
#[test]
fn every_kernel_equals_its_twin_in_f64() {
    with_all_variants(|device| {
        if device.has_f64() {
            every_kernel_equals_its_twin::<f64>(device);
        }
    });
}

/// The sizes at which an invocation that loops too long comes out wrong on Mesa 22.3, and sums of several dispatches.
#[test]
fn engines_agree_where_sums_are_long() {
    with_all_variants(|device| {
        for (n, d, k) in [
            (256, 64, 1000),
            (16, 30_000, 3),
            (2, 70_000, 2),
            (2, 3, 70_000),
        ] {
            let problem = random(1, n, d, k, 1.0, Reduction::Sum);
            let plan = Plan::new(&problem, Wrt::Input, None, Precision::F32);
            let found = Gpu::<f32>::new(device, &problem, plan)
                .unwrap()
                .evaluate(0..n)
                .unwrap();
            let host = Cpu::new(
                &problem,
                Plan {
                    precision: Precision::F64,
                    ..plan
                },
            )
            .evaluate(0..n);
            let pairs = found.derivative().iter().zip(host.derivative());
            for (entry, (found, expected)) in pairs.enumerate() {
                let bound = 32.0 * U * host.bounds.conditioning[entry];
                let error = (found - expected).abs();
                assert!(
                    error <= bound,
                    "{n}x{d}x{k}, entry {entry}: {error:e} > {bound:e}"
                );
            }
        }
    });
}

/// A weight that one binding does not hold is bound in windows of its classes, whatever the target.
#[test]
fn windows_of_classes_add_up() {
    for mut device in devices() {
        // 23 classes of 12 columns, of two steps: windows of 7, 7, 7 and 2.
        device.limit_binding((2 * 7 * 12 + 5) * 4);
        let plain = random(5, 40, 11, 23, 1.0, Reduction::Mean);
        let smoothed = with_smoothing(&plain);
        for problem in [plain, smoothed] {
            for method in [Method::Difference, Method::ForwardPass] {
                let derivative = Differentiation::from(Wrt::Input).by(method);
                let eps = Some(2f64.powi(-8));
                let plan = Plan::new(&problem, derivative, eps, Precision::F32);
                let precision = Precision::F64;
                let host = Cpu::new(&problem, Plan { precision, ..plan });
                let expected = host.evaluate(0..40);
                let mut gpu = Gpu::<f32>::new(&device, &problem, plan).unwrap();
                let step = gpu.rows_per_call();
                assert!(step < 8, "{step} rows of 23 logits are bound at once");
                // The derivative, or the losses a step.
                let of = |evaluation: &Evaluation| match &evaluation.values {
                    Values::Derivative(derivative) => vec![derivative.clone()],
                    Values::Losses(losses) => losses.at_steps.clone(),
                };
                let mut losses = vec![Vec::new(); of(&expected).len()];
                let (mut conditioning, mut gradient) = (Vec::new(), Vec::new());
                for start in (0..40).step_by(step) {
                    let rows = start..40.min(start + step);
                    let chunk = gpu.evaluate(rows.clone()).unwrap();
                    let parts = losses.iter_mut().zip(of(&chunk));
                    parts.for_each(|(losses, part)| losses.extend(part));
                    conditioning.extend(chunk.bounds.conditioning);
                    gradient.extend(gpu.backward(rows).unwrap());
                }
                let size = |entry: usize| expected.bounds.conditioning[entry];
                for (found, expected) in losses.iter().zip(&of(&expected)) {
                    let close = |(entry, (found, expected)): (usize, (&f64, &f64))| {
                        // A loss is some units large, whatever the entry.
                        let bound = match method {
                            Method::Difference => size(entry),
                            Method::ForwardPass => 40.0,
                        };
                        assert!((found - expected).abs() <= 16.0 * U * bound, "{entry}");
                    };
                    found.iter().zip(expected).enumerate().for_each(close);
                }
                let exact = host.backward(0..40);
                for entry in 0..40 * 11 {
                    let size = size(entry);
                    assert!((conditioning[entry] - size).abs() <= 16.0 * U * size);
                    let error = (gradient[entry] - exact[entry]).abs();
                    assert!(error <= 16.0 * U * size / problem.normalizer());
                }
            }
        }
    }
}

/// The same problem with labels that are smoothed.
fn with_smoothing(problem: &Problem) -> Problem {
    let classes: Vec<i64> = (0..problem.n())
        .map(|row| problem.label(row).unwrap() as i64)
        .collect();
    Problem::new(
        problem.input().clone(),
        problem.weight().clone(),
        Some(Tensor::from_f64(&[problem.k()], &problem.bias::<f64>())),
        &Tensor::from_classes(&classes),
        CrossEntropy {
            label_smoothing: 0.1,
            ..problem.loss().clone()
        },
    )
    .unwrap()
}

/// Rows are independent: however they are cut, every entry is the same to the last bit.
#[test]
fn chunks_do_not_change_a_bit() {
    for mut device in devices() {
        let problem = random(2, 50, 12, 5, 1.0, Reduction::Mean);
        for wrt in [Wrt::Input, Wrt::Logits] {
            for method in [Method::Difference, Method::ForwardPass] {
                let derivative = Differentiation::from(wrt).by(method);
                let plan = Plan::new(&problem, derivative, None, Precision::F32);
                device.limit_memory(1 << 30);
                let whole = Gpu::<f32>::new(&device, &problem, plan)
                    .unwrap()
                    .evaluate(0..50)
                    .unwrap();
                device.limit_memory(4 << 10);
                let mut gpu = Gpu::<f32>::new(&device, &problem, plan).unwrap();
                let step = gpu.rows_per_call();
                assert!(step < 20, "4 KiB hold {step} rows");
                let of = |evaluation: &Evaluation| match &evaluation.values {
                    Values::Derivative(derivative) => derivative.clone(),
                    Values::Losses(losses) => losses.at_steps[1].clone(),
                };
                let (mut losses, mut conditioning) = (Vec::new(), Vec::new());
                for start in (0..50).step_by(step) {
                    let chunk = gpu.evaluate(start..50.min(start + step)).unwrap();
                    losses.extend(of(&chunk));
                    conditioning.extend(chunk.bounds.conditioning);
                }
                assert_eq!(
                    (losses, conditioning),
                    (of(&whole), whole.bounds.conditioning)
                );
            }
        }
    }
}
