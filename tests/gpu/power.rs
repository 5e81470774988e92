//! Size and power of the check: correct gradients of any type never fail, and known bugs never
//! pass.

use crate::devices::{CPU, gpus};
use crate::framework::{gradient, round, tensor};
use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    loss::{CrossEntropy, Reduction},
    problem::{Problem, Wrt},
    report::{Check, Comparison, Verdict},
    tensor::{Dtype, Tensor},
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

const FLOATS: [Dtype; 4] = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];

/// Parts of a problem. A bug changes one of them.
#[derive(Clone)]
struct Ingredients {
    dtype: Dtype,
    shape: (usize, usize, usize),
    input: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    target: Vec<i64>,
    probabilities: Option<Vec<f64>>,
    loss: CrossEntropy,
}

impl Ingredients {
    fn random(
        rng: &mut ChaCha8Rng,
        dtype: Dtype,
        (n, d, k): (usize, usize, usize),
        scale: f64,
    ) -> Self {
        let mut normal = |count: usize, scale: f64| -> Vec<f64> {
            (0..count)
                .map(|_| round(dtype, rng.sample::<f64, _>(StandardNormal) * scale))
                .collect()
        };
        let input = normal(n * d, 1.0);
        let weight = normal(k * d, scale / (d as f64).sqrt());
        let bias = normal(k, scale);
        let target = (0..n).map(|_| rng.random_range(0..k as i64)).collect();
        let loss = CrossEntropy::default();
        Self {
            dtype,
            shape: (n, d, k),
            input,
            weight,
            bias,
            target,
            probabilities: None,
            loss,
        }
    }

    fn problem(&self) -> Problem {
        let (n, d, k) = self.shape;
        let target = match &self.probabilities {
            Some(probabilities) => tensor(self.dtype, &[n, k], probabilities),
            None => Tensor::from_classes(&self.target),
        };
        Problem::new(
            tensor(self.dtype, &[n, d], &self.input),
            tensor(self.dtype, &[k, d], &self.weight),
            Some(tensor(self.dtype, &[k], &self.bias)),
            &target,
            self.loss.clone(),
        )
        .unwrap()
    }

    fn gradient(&self) -> Vec<f64> {
        gradient(&self.problem(), Wrt::Input, self.dtype)
    }
}

/// Returns the comparison behind a check that was made here.
fn comparison(check: &Check) -> &Comparison {
    check.comparison.as_deref().unwrap()
}

fn check_gradient(problem: &Problem, wrt: Wrt, dtype: Dtype, values: &[f64]) -> Check {
    check_on(&CPU, problem, wrt, dtype, values)
}

fn check_on(device: &Device, problem: &Problem, wrt: Wrt, dtype: Dtype, values: &[f64]) -> Check {
    let gradient = tensor(dtype, &problem.gradient_shape(wrt), values);
    let subject = Subject {
        wrt,
        gradient: Some(gradient),
    };
    check::check(problem, &[subject], &Options::default(), device, &mut ())
        .unwrap()
        .checks
        .remove(0)
}

/// Draws a problem of random size, scale and loss options.
fn draw(seed: u64) -> Ingredients {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut choose = |values: &[usize]| values[rng.random_range(0..values.len())];
    let dtype = FLOATS[choose(&[0, 1, 2, 3])];
    let shape = (
        choose(&[1, 2, 7, 40, 150]),
        choose(&[1, 2, 5, 16, 64, 300]),
        choose(&[2, 3, 10, 50, 300]),
    );
    let half = matches!(dtype, Dtype::F16 | Dtype::BF16);
    let scale = 10f64.powf(rng.random_range(-2.0..if half { 1.0 } else { 2.0 }));
    let mut it = Ingredients::random(&mut rng, dtype, shape, scale);
    let (n, d, k) = shape;
    if rng.random_bool(0.1) {
        // Two classes are equal, and one feature is always 0.
        it.weight.copy_within(0..d, d);
        (0..n).for_each(|j| it.input[j * d] = 0.0);
    }
    if rng.random_bool(0.1) {
        let first = it.input[..d].to_vec();
        it.input
            .chunks_exact_mut(d)
            .for_each(|row| row.copy_from_slice(&first));
    }
    let reduction = if rng.random_bool(0.5) {
        Reduction::Mean
    } else {
        Reduction::Sum
    };
    it.loss.reduction = reduction;
    it.loss.label_smoothing = [0.0, 0.0, 0.1, 0.5][rng.random_range(0..4)];
    if rng.random_bool(0.3) {
        it.loss.class_weight = Some(
            (0..k)
                .map(|_| round(dtype, rng.random_range(0.05..3.0)))
                .collect(),
        );
    }
    match rng.random_range(0..4) {
        0 if n > 1 => it.target[1] = -100,
        1 => {
            let rows = (0..n).flat_map(|_| {
                let row: Vec<f64> = (0..k)
                    .map(|_| rng.random_range(0.0..1.0f64).powi(4))
                    .collect();
                let sum: f64 = row.iter().sum();
                row.into_iter().map(move |p| round(dtype, p / sum))
            });
            it.probabilities = Some(rows.collect());
        }
        _ => {}
    }
    it
}

fn no_false_alarm(seeds: std::ops::Range<u64>) {
    let (mut passed, mut all) = (0, 0);
    for seed in seeds {
        let it = draw(seed);
        let problem = it.problem();
        for wrt in [Wrt::Input, Wrt::Logits] {
            let values = gradient(&problem, wrt, it.dtype);
            if values.iter().any(|v| !v.is_finite()) {
                continue;
            }
            let report = check_gradient(&problem, wrt, it.dtype, &values);
            let worst = &report.worst[0];
            assert_ne!(
                report.verdict,
                Verdict::Fail,
                "seed {seed} {wrt:?} {} {:?}: {worst:?} {:?}",
                it.dtype,
                it.shape,
                report.scale
            );
            all += 1;
            passed += u32::from(report.verdict == Verdict::Pass);
        }
    }
    println!("{passed} of {all} correct gradients pass; the others are inconclusive");
    assert!(
        f64::from(passed) > 0.8 * f64::from(all),
        "{passed} of {all}"
    );
}

#[test]
fn ten_thousand_correct_gradients_never_fail() {
    no_false_alarm(1_000..6_100);
}

/// Returns each bug with its problem and its gradient, computed with the mistake.
fn bugs(right: &Ingredients, rng: &mut ChaCha8Rng) -> Vec<(&'static str, Ingredients, Vec<f64>)> {
    let (n, d, k) = right.shape;
    let dtype = right.dtype;
    let gradient = right.gradient();
    let changed = |change: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        gradient
            .iter()
            .enumerate()
            .map(|(e, &g)| round(dtype, change(e, g)))
            .collect()
    };
    let column = |e: usize| e % d;
    let row = |e: usize| e / d;
    let swapped = |e: usize| match column(e) {
        0 => e + 1,
        1 => e - 1,
        _ => e,
    };
    let mut cases = vec![
        ("zeros", right.clone(), vec![0.0; n * d]),
        ("sign", right.clone(), changed(&|_, g| -g)),
        ("times 10", right.clone(), changed(&|_, g| 10.0 * g)),
        ("1 % low", right.clone(), changed(&|_, g| 0.99 * g)),
        (
            "1 % low in a row",
            right.clone(),
            changed(&|e, g| if row(e) == n / 2 { 0.99 * g } else { g }),
        ),
        (
            "two columns exchanged",
            right.clone(),
            (0..n * d).map(|e| gradient[swapped(e)]).collect(),
        ),
        (
            "rows permuted",
            right.clone(),
            (0..n * d).map(|e| gradient[(e + d) % (n * d)]).collect(),
        ),
    ];
    // These gradients were computed for another problem.
    let mut other = |name, change: &mut dyn FnMut(&mut Ingredients)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        cases.push((name, right.clone(), wrong.gradient()));
    };
    other("sum for mean", &mut |it| it.loss.reduction = Reduction::Sum);
    other("label off by one", &mut |it| {
        it.target.iter_mut().for_each(|t| *t = (*t + 1) % k as i64)
    });
    let softmax_only = {
        // Adds the one-hot part back, so that R p W / Z is left.
        let problem = right.problem();
        let weight = problem.weight().values::<f64>();
        let at_label = |e: usize| weight[right.target[row(e)] as usize * d + column(e)] / n as f64;
        changed(&|e, g| g + at_label(e))
    };
    cases.push(("one-hot missing", right.clone(), softmax_only));
    let smoothed = Ingredients {
        loss: CrossEntropy {
            label_smoothing: 0.1,
            ..CrossEntropy::default()
        },
        ..right.clone()
    };
    cases.push(("smoothing omitted", smoothed, gradient.clone()));
    let mut weights = vec![1.0; k];
    weights[right.target[rng.random_range(0..n)] as usize] = 1.5;
    let weighted = Ingredients {
        loss: CrossEntropy {
            class_weight: Some(weights),
            ..CrossEntropy::default()
        },
        ..right.clone()
    };
    cases.push(("a class weight omitted", weighted, gradient.clone()));
    let mut ignoring = right.clone();
    ignoring.target[n / 3] = -100;
    cases.push(("an ignored row kept", ignoring, gradient.clone()));
    if matches!(dtype, Dtype::F64 | Dtype::F32) {
        // The largest entry is not small compared with its terms.
        let largest = (0..n * d)
            .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()))
            .unwrap();
        cases.push((
            "an entry off by 1e-3",
            right.clone(),
            changed(&|e, g| if e == largest { 1.001 * g } else { g }),
        ));
    }
    cases
}

fn no_bug_passes(shape: (usize, usize, usize)) {
    for dtype in [Dtype::F64, Dtype::F32] {
        let mut rng = ChaCha8Rng::seed_from_u64(shape.0 as u64);
        let right = Ingredients::random(&mut rng, dtype, shape, 1.0);
        assert_eq!(
            check_gradient(&right.problem(), Wrt::Input, dtype, &right.gradient()).verdict,
            Verdict::Pass
        );
        for (name, problem, gradient) in bugs(&right, &mut rng) {
            let verdict = check_gradient(&problem.problem(), Wrt::Input, dtype, &gradient).verdict;
            assert_eq!(verdict, Verdict::Fail, "{name} in {dtype} at {shape:?}");
        }
    }
}

#[test]
fn no_bug_passes_at_10x4x2() {
    no_bug_passes((10, 4, 2));
}

#[test]
fn no_bug_passes_at_64x32x10() {
    no_bug_passes((64, 32, 10));
}

#[test]
fn no_bug_passes_at_512x32x10() {
    no_bug_passes((512, 32, 10));
}

#[test]
fn no_bug_passes_at_4096x256x10() {
    no_bug_passes((4096, 256, 10));
}

/// In half precision, an error of 1 % is below the rounding of most entries. Their common scale
/// shows it.
#[test]
fn a_bf16_gradient_that_is_one_percent_low_fails_on_its_scale() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let right = Ingredients::random(&mut rng, Dtype::BF16, (4096, 256, 10), 1.0);
    let low: Vec<f64> = right
        .gradient()
        .iter()
        .map(|g| round(Dtype::BF16, 0.99 * g))
        .collect();
    let report = check_gradient(&right.problem(), Wrt::Input, Dtype::BF16, &low);
    assert_eq!(
        (report.verdict, report.wrong),
        (Verdict::Fail, 0),
        "{:?}",
        report.scale
    );
}

/// The scale of a single column shows its error, and the report names the column.
#[test]
fn an_f32_column_that_is_low_fails_on_its_own_scale() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let right = Ingredients::random(&mut rng, Dtype::F32, (4096, 256, 10), 1.0);
    let gradient = right.gradient();
    let low = |(e, g): (usize, &f64)| {
        if e % 256 == 7 {
            round(Dtype::BF16, 0.98 * g)
        } else {
            *g
        }
    };
    let low: Vec<f64> = gradient.iter().enumerate().map(low).collect();
    let report = check_gradient(&right.problem(), Wrt::Input, Dtype::F32, &low);
    let columns: Vec<usize> = comparison(&report)
        .columns_off()
        .into_iter()
        .map(|(column, _)| column)
        .collect();
    assert_eq!((report.verdict, columns), (Verdict::Fail, vec![7]));
}

#[test]
fn small_uniform_errors_fail() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let gpus = gpus().map(|device| (device, Dtype::F32, 1e-5));
    for (device, dtype, least) in [(CPU, Dtype::F32, 1e-5), (CPU, Dtype::F64, 1e-8)]
        .into_iter()
        .chain(gpus)
    {
        let right = Ingredients::random(&mut rng, dtype, (4096, 256, 10), 1.0);
        let (problem, gradient) = (right.problem(), right.gradient());
        let report = check_on(&device, &problem, Wrt::Input, dtype, &gradient);
        println!(
            "{} {dtype}: would detect an error of {:.1e}",
            device.info().name,
            report.detectable
        );
        assert!(
            report.verdict == Verdict::Pass && report.detectable < least,
            "{}",
            report.detectable
        );
        let scaled: Vec<f64> = gradient
            .iter()
            .map(|g| round(dtype, g * (1.0 + least)))
            .collect();
        assert_eq!(
            check_on(&device, &problem, Wrt::Input, dtype, &scaled).verdict,
            Verdict::Fail,
            "{dtype}"
        );
    }
}

/// torch.allclose with the tolerances of gradcheck passes this gradient.
#[test]
fn a_gradient_that_is_zero_but_for_a_few_entries_fails() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let right = Ingredients::random(&mut rng, Dtype::F32, (64, 32_000, 10), 1.0);
    let zeroed: Vec<f64> = right
        .gradient()
        .into_iter()
        .enumerate()
        .map(|(e, g)| if e % 10_000 == 0 { g } else { 0.0 })
        .collect();
    let report = check_gradient(&right.problem(), Wrt::Input, Dtype::F32, &zeroed);
    assert_eq!(report.verdict, Verdict::Fail);
}

/// Entries below an absolute tolerance are undecided, unless rounding explains their error.
#[test]
fn an_absolute_tolerance_does_not_certify_smaller_entries() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let right = Ingredients::random(&mut rng, Dtype::F32, (64, 32, 10), 1.0);
    let (problem, mut values) = (right.problem(), right.gradient());
    let verdict = |values: &[f64]| {
        let gradient = Some(tensor(Dtype::F32, &[64, 32], values));
        let options = Options {
            atol: Some(1.0),
            ..Options::default()
        };
        let subject = Subject {
            wrt: Wrt::Input,
            gradient,
        };
        check::check(&problem, &[subject], &options, &CPU, &mut ())
            .unwrap()
            .checks[0]
            .undecided
    };
    assert_eq!(
        verdict(&values),
        0,
        "rounding explains these errors, whatever the tolerance"
    );
    values.iter_mut().for_each(|g| *g = 0.0);
    assert_eq!(verdict(&values), 64 * 32);
}
