//! Wrong gradients, each made as a framework or a programmer makes it: by really computing the wrong thing. A
//! [`Work`] holds two programs, the one that the file describes and the one that ran; a bug makes them differ, or
//! changes what the second one hands out.

use std::{fmt::Write, rc::Rc};

use gradprobe::{
    loss::{CrossEntropy, IGNORE_INDEX, Reduction},
    problem::{Problem, Wrt},
    tensor::{Dtype, Tensor},
};
use half::bf16;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use rand_distr::StandardNormal;

use crate::framework::{Arithmetic, round, targets, tensor};

/// Where a gradient is wrong; none means everywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) columns: Option<Vec<usize>>,
    pub(crate) labels: Option<Vec<usize>>,
}

/// A wrong gradient, and what a checker is told.
pub(crate) struct Case {
    /// The catalogue's code that must come first.
    pub(crate) code: &'static str,
    /// Codes that arrays alone cannot tell from it in this very case.
    pub(crate) also: Vec<&'static str>,
    pub(crate) wrt: Wrt,
    /// Of the gradient under test.
    pub(crate) dtype: Dtype,
    /// What the file says.
    pub(crate) problem: Problem,
    /// The wrong gradient, each entry already rounded to `dtype`.
    pub(crate) gradient: Vec<f64>,
    /// Shape, scale and the bug's own parameters, for messages.
    pub(crate) description: String,
    pub(crate) touched: Touched,
}

type Rng = ChaCha8Rng;
type Shape = (usize, usize, usize);

/// A loss's backward pass: from a program and its logits to the gradient with respect to these, [n, k].
type Backward = Rc<dyn Fn(&Program, &[f64]) -> Vec<f64>>;

/// A linear layer and a loss as a program has them. Every operand is exact in the type it computes in.
#[derive(Clone)]
struct Program {
    arithmetic: Arithmetic,
    shape: Shape,
    scale: f64,
    input: Vec<f64>,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    target: Vec<i64>,
    loss: CrossEntropy,
    backward: Backward,
    /// What the loss is multiplied by before the backward pass.
    factor: f64,
    /// What the sum of the losses is divided by, where that is not Z.
    divisor: Option<f64>,
    /// What the backward pass of the layer multiplies by, where that is not the weight.
    backward_weight: Option<Vec<f64>>,
}

impl Program {
    fn random(rng: &mut Rng, dtype: Dtype) -> Self {
        let mut size = |low: f64, high: f64| log_uniform(rng, low, high + 1.0) as usize;
        let shape = loop {
            let (n, d, k) = (size(8.0, 512.0), size(3.0, 256.0), size(2.0, 64.0));
            if n * d * k < 4_000_000 {
                break (n, d, k);
            }
        };
        Self::of_shape(rng, dtype, shape)
    }

    fn of_shape(rng: &mut Rng, dtype: Dtype, shape: Shape) -> Self {
        let (n, d, k) = shape;
        let scale = log_uniform(rng, 0.1, 10.0);
        let mut program = Self {
            arithmetic: Arithmetic::of(dtype),
            shape,
            scale,
            input: normal(rng, dtype, n * d, 1.0),
            weight: normal(rng, dtype, k * d, scale / (d as f64).sqrt()),
            bias: rng.random_bool(0.7).then(|| normal(rng, dtype, k, scale)),
            target: vec![0; n],
            loss: CrossEntropy::default(),
            backward: Rc::new(cross_entropy),
            factor: 1.0,
            divisor: None,
            backward_weight: None,
        };
        program.draw_target(rng);
        program.draw_options(rng);
        program
    }

    /// Labels at random, or, as of a trained model, the more likely the larger their logit.
    fn draw_target(&mut self, rng: &mut Rng) {
        let k = self.shape.2;
        let trained = rng.random_bool(0.4);
        let logits = self.logits();
        for (target, z) in self.target.iter_mut().zip(logits.chunks_exact(k)) {
            // The largest of the logits plus Gumbel noise has the softmax's distribution.
            let mut score = |c: usize| {
                let noise = -(-rng.random_range(1e-12..1.0f64).ln()).ln();
                if trained { z[c] + noise } else { noise }
            };
            let scores: Vec<f64> = (0..k).map(&mut score).collect();
            *target = argmax(&scores) as i64;
        }
    }

    fn draw_options(&mut self, rng: &mut Rng) {
        if rng.random_bool(0.2) {
            self.loss.reduction = Reduction::Sum;
        }
        if rng.random_bool(0.15) {
            self.ignore_some(rng);
        }
        if rng.random_bool(0.15) {
            self.loss.class_weight = Some(self.draw_class_weight(rng));
        }
        if rng.random_bool(0.15) {
            self.loss.label_smoothing = pick(rng, &SMOOTHINGS);
        }
    }

    fn draw_class_weight(&self, rng: &mut Rng) -> Vec<f64> {
        let weight = |_| round(self.arithmetic.dtype, rng.random_range(0.2..3.0));
        (0..self.shape.2).map(weight).collect()
    }

    fn ignore_some(&mut self, rng: &mut Rng) {
        let n = self.shape.0;
        let count = rng.random_range(1..=n * 2 / 5);
        (0..count).for_each(|_| self.target[rng.random_range(0..n)] = IGNORE_INDEX);
    }

    /// The plain loss: every class and sample counts alike. The reduction stays.
    fn plain(&mut self, rng: &mut Rng) {
        let k = self.shape.2 as i64;
        self.loss.class_weight = None;
        self.loss.label_smoothing = 0.0;
        let ignored = self.target.iter_mut().filter(|t| **t == IGNORE_INDEX);
        ignored.for_each(|target| *target = rng.random_range(0..k));
    }

    /// The same program in another type.
    fn cast(&mut self, dtype: Dtype) {
        self.arithmetic.dtype = dtype;
        let weights = [self.bias.as_mut(), self.loss.class_weight.as_mut()];
        let tensors = [Some(&mut self.input), Some(&mut self.weight)];
        for tensor in tensors.into_iter().chain(weights).flatten() {
            tensor.iter_mut().for_each(|v| *v = round(dtype, *v));
        }
    }

    fn problem(&self) -> Problem {
        let (n, d, k) = self.shape;
        let tensor = |shape: &[usize], values: &[f64]| tensor(self.arithmetic.dtype, shape, values);
        Problem::new(
            tensor(&[n, d], &self.input),
            tensor(&[k, d], &self.weight),
            self.bias.as_ref().map(|bias| tensor(&[k], bias)),
            &Tensor::from_classes(&self.target),
            self.loss.clone(),
        )
        .unwrap()
    }

    fn is_mean(&self) -> bool {
        self.loss.reduction == Reduction::Mean
    }

    /// Samples that are not ignored.
    fn counted(&self) -> Vec<usize> {
        let counts = |j: &usize| self.target[*j] != IGNORE_INDEX;
        (0..self.shape.0).filter(counts).collect()
    }

    /// Z of the mean, whatever the reduction is.
    fn mean_normalizer(&self) -> f64 {
        let mut mean = self.clone();
        mean.loss.reduction = Reduction::Mean;
        mean.problem().normalizer()
    }

    fn logits(&self) -> Vec<f64> {
        let zeros = vec![0.0; self.shape.2];
        let bias = self.bias.as_ref().unwrap_or(&zeros);
        self.arithmetic.logits(&self.input, &self.weight, bias)
    }

    /// r · factor / Z, as the loss's backward pass is handed it.
    fn weights(&self) -> Vec<f64> {
        let problem = self.problem();
        let divisor = self.divisor.unwrap_or(problem.normalizer());
        let weight = |r| self.arithmetic.round(r * self.factor / divisor);
        targets(&problem).into_iter().map(weight).collect()
    }

    fn dlogits(&self) -> Vec<f64> {
        (self.backward)(self, &self.logits())
    }

    fn gradient_from(&self, dlogits: &[f64], wrt: Wrt) -> Vec<f64> {
        let weight = self.backward_weight.as_ref().unwrap_or(&self.weight);
        let k = self.shape.2;
        self.arithmetic
            .backward(wrt, dlogits, &self.input, weight, k)
    }

    fn gradient(&self, wrt: Wrt) -> Vec<f64> {
        self.gradient_from(&self.dlogits(), wrt)
    }

    /// The same in f64.
    fn exact(&self) -> Self {
        let arithmetic = Arithmetic::of(Dtype::F64);
        Self {
            arithmetic,
            ..self.clone()
        }
    }

    /// The sum of the magnitudes of what each entry is the sum of.
    fn sizes(&self, dlogits: &[f64], wrt: Wrt) -> Vec<f64> {
        let sizes = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<f64>>();
        let (input, weight) = (sizes(&self.input), sizes(&self.weight));
        self.arithmetic
            .backward(wrt, &sizes(dlogits), &input, &weight, self.shape.2)
    }

    /// One step of gradient descent.
    fn step(&mut self, rate: f64, weight_gradient: &[f64], bias_gradient: &[f64]) {
        let arithmetic = self.arithmetic;
        let step = |(value, g): (&mut f64, &f64)| *value = arithmetic.round(*value - rate * g);
        self.weight.iter_mut().zip(weight_gradient).for_each(step);
        let bias = self.bias.iter_mut().flatten();
        bias.zip(bias_gradient).for_each(step);
    }
}

/// What frameworks do: the backward pass of log_softmax, given that of the weighted sum of its values.
fn cross_entropy(program: &Program, z: &[f64]) -> Vec<f64> {
    let (arithmetic, k) = (program.arithmetic, program.shape.2);
    let log_p = arithmetic.log_softmax(z, k);
    arithmetic.log_softmax_backward(&log_p, &program.weights(), k)
}

/// What people write: (probabilities - one-hot) / Z, the one-hot subtracted or not, ignored rows masked or not.
fn by_hand(
    probabilities: fn(&Program, &[f64]) -> Vec<f64>,
    one_hot: bool,
    masked: bool,
) -> Backward {
    Rc::new(move |program, z| {
        let k = program.shape.2;
        let weights = program.weights();
        let share = weights.iter().copied().fold(0.0, f64::max);
        let probabilities = probabilities(program, z);
        let entry = |e: usize| {
            let row = &weights[e / k * k..][..k];
            let total = if masked { row.iter().sum() } else { share };
            let y = if one_hot { weights[e] } else { 0.0 };
            program.arithmetic.round(total * probabilities[e] - y)
        };
        (0..z.len()).map(entry).collect()
    })
}

fn softmax(program: &Program, z: &[f64]) -> Vec<f64> {
    let log_p = program.arithmetic.log_softmax(z, program.shape.2);
    map(program, &log_p, f64::exp)
}

fn sigmoid(program: &Program, z: &[f64]) -> Vec<f64> {
    map(program, z, |z| 1.0 / (1.0 + (-z).exp()))
}

fn nothing(_: &Program, z: &[f64]) -> Vec<f64> {
    vec![0.0; z.len()]
}

fn softmax_over_batch(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let log_p = program.arithmetic.log_softmax(&transposed(z, k), n);
    transposed(&map(program, &log_p, f64::exp), n)
}

/// The backward pass of a loss whose log_softmax is over dim 0.
fn cross_entropy_over_batch(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let arithmetic = program.arithmetic;
    let log_p = arithmetic.log_softmax(&transposed(z, k), n);
    let weights = transposed(&program.weights(), k);
    transposed(&arithmetic.log_softmax_backward(&log_p, &weights, n), n)
}

/// The backward pass of a softmax, given the gradient with respect to the probabilities.
fn softmax_backward(program: &Program, p: &[f64], dp: &[f64]) -> Vec<f64> {
    let (arithmetic, k) = (program.arithmetic, program.shape.2);
    let rows = p.chunks_exact(k).zip(dp.chunks_exact(k));
    let row = |(p, dp): (&[f64], &[f64])| -> Vec<f64> {
        let mean = arithmetic.dot(p.iter().zip(dp).map(|(p, dp)| p * dp));
        let entry = |(p, dp): (&f64, &f64)| arithmetic.round(p * (dp - mean));
        p.iter().zip(dp).map(entry).collect()
    };
    rows.flat_map(row).collect()
}

/// cross_entropy(softmax(z)).
fn cross_entropy_of_softmax(program: &Program, z: &[f64]) -> Vec<f64> {
    let p = softmax(program, z);
    softmax_backward(program, &p, &cross_entropy(program, &p))
}

/// cross_entropy(z / T), with or without the division in the backward pass.
fn cross_entropy_at(temperature: f64, chained: bool) -> Backward {
    Rc::new(move |program, z| {
        let divided = |values: &[f64]| map(program, values, |v| v / temperature);
        let gradient = cross_entropy(program, &divided(z));
        if chained {
            divided(&gradient)
        } else {
            gradient
        }
    })
}

/// The mean square of softmax - one-hot.
fn square(program: &Program, z: &[f64]) -> Vec<f64> {
    let p = softmax(program, z);
    let n = program.shape.0 as f64;
    let weights = program.weights();
    let entry = |(p, w): (&f64, &f64)| program.arithmetic.round(2.0 * (p / n - w));
    let dp: Vec<f64> = p.iter().zip(&weights).map(entry).collect();
    softmax_backward(program, &p, &dp)
}

/// PyTorch's multi_margin_loss.
fn hinge(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let share = program.arithmetic.round(1.0 / (n * k) as f64);
    let mut gradient = vec![0.0; n * k];
    for (j, &y) in program.target.iter().enumerate() {
        let y = j * k + y as usize;
        for e in j * k..(j + 1) * k {
            if e != y && 1.0 - z[y] + z[e] > 0.0 {
                gradient[e] += share;
                gradient[y] -= share;
            }
        }
    }
    gradient
}

/// (1 - p)² times the cross-entropy.
fn focal(program: &Program, z: &[f64]) -> Vec<f64> {
    let (n, _, k) = program.shape;
    let log_p = program.arithmetic.log_softmax(z, k);
    let slope = |j: usize| {
        let l = log_p[j * k + program.target[j] as usize];
        let q = 1.0 - l.exp();
        (q * q - 2.0 * q * l.exp() * l) / n as f64
    };
    let mut weights = vec![0.0; n * k];
    let label = |j: usize| j * k + program.target[j] as usize;
    (0..n).for_each(|j| weights[label(j)] = program.arithmetic.round(slope(j)));
    program.arithmetic.log_softmax_backward(&log_p, &weights, k)
}

/// What a bug works on.
struct Work {
    wrt: Wrt,
    /// What the file says.
    file: Program,
    /// What ran.
    program: Program,
    /// What it handed out, once it has run.
    gradient: Option<Vec<f64>>,
    notes: String,
    also: Vec<&'static str>,
    touched: Touched,
}

impl Work {
    fn new(wrt: Wrt, file: Program) -> Self {
        Self {
            wrt,
            program: file.clone(),
            file,
            gradient: None,
            notes: String::new(),
            also: Vec::new(),
            touched: Touched::default(),
        }
    }

    /// Changes what the file says, and the program with it: before the bug.
    fn declare(&mut self, change: impl FnOnce(&mut Program)) {
        assert!(self.gradient.is_none(), "it has run");
        change(&mut self.file);
        self.program = self.file.clone();
    }

    fn plain(&mut self, rng: &mut Rng) {
        self.declare(|program| program.plain(rng));
    }

    /// What is about to be run.
    fn program(&mut self) -> &mut Program {
        assert!(self.gradient.is_none(), "it has run");
        &mut self.program
    }

    /// What came out.
    fn gradient(&mut self) -> &mut Vec<f64> {
        let (program, wrt) = (&self.program, self.wrt);
        self.gradient.get_or_insert_with(|| program.gradient(wrt))
    }

    /// Changes every entry of what came out, given its place.
    fn map(&mut self, mut change: impl FnMut(usize, f64) -> f64) {
        let arithmetic = self.program.arithmetic;
        let entries = self.gradient().iter_mut().enumerate();
        entries.for_each(|(e, g)| *g = arithmetic.round(change(e, *g)));
    }

    /// Takes every entry from another place.
    fn take(&mut self, from: impl Fn(usize) -> usize) {
        let before = self.gradient().clone();
        self.map(|e, _| before[from(e)]);
    }

    fn note(&mut self, note: impl std::fmt::Display) {
        write!(self.notes, ", {note}").unwrap();
    }

    fn dtype(&self) -> Dtype {
        self.file.arithmetic.dtype
    }

    fn rows(&self) -> usize {
        let (n, _, k) = self.file.shape;
        if self.wrt.is_parameter() { k } else { n }
    }

    fn columns(&self) -> usize {
        let (_, d, k) = self.file.shape;
        match self.wrt {
            Wrt::Input | Wrt::Weight => d,
            Wrt::Logits => k,
            Wrt::Bias => 1,
        }
    }

    /// None where nothing is to be seen: the loss is saturated, or the bug is not larger than the rounding.
    fn finish(mut self, code: &'static str) -> Option<Case> {
        let dtype = self.dtype();
        let gradient: Vec<f64> = self.gradient().iter().map(|&g| round(dtype, g)).collect();
        let exact = self.file.exact();
        let dlogits = exact.dlogits();
        let reference = exact.gradient_from(&dlogits, self.wrt);
        if is_saturated(&dlogits, self.file.shape.2) {
            return None;
        }
        // In f64 they are one and the same: then, about what such a calculation loses.
        let rounding = distance(&self.file.gradient(self.wrt), &reference) / norm(&reference);
        let rounding = rounding.max(1e-14);
        if code != "not-finite" {
            let fit = Fit::of(&gradient, &reference);
            let sizes = exact.sizes(&dlogits, self.wrt);
            let terms = self.file.problem().terms(self.wrt);
            let visible = is_visible(&gradient, &reference, &sizes, dtype, terms);
            if !(visible && fit.error > 10.0 * rounding) {
                return None;
            }
            if fit.rho < 3.0 * rounding {
                let tolerance = 3.0 * rounding + 4.0 * dtype.unit_roundoff();
                self.also
                    .extend(coincidences(&self.file, &gradient, fit.scale, tolerance));
                self.also
                    .extend((!SCALES.contains(&code)).then_some("scaled"));
            }
            self.note(fit);
        }
        self.also.retain(|also| *also != code);
        Some(Case {
            code,
            also: self.also,
            wrt: self.wrt,
            dtype,
            description: describe(&self.file, self.wrt, &self.notes),
            problem: self.file.problem(),
            gradient,
            touched: self.touched,
        })
    }
}

/// The gradient under test against the exact one.
struct Fit {
    /// <a,g> / <g,g>.
    scale: f64,
    /// |a - s g| / |a|.
    rho: f64,
    /// |a - g| / |g|.
    error: f64,
}

impl Fit {
    fn of(a: &[f64], g: &[f64]) -> Self {
        let dot: f64 = a.iter().zip(g).map(|(a, g)| a * g).sum();
        let scale = dot / norm(g).powi(2);
        let scaled: Vec<f64> = g.iter().map(|g| scale * g).collect();
        Self {
            scale,
            rho: distance(a, &scaled) / norm(a),
            error: distance(a, g) / norm(g),
        }
    }
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "s {:.4e} rho {:.1e} error {:.1e}",
            self.scale, self.rho, self.error
        )
    }
}

/// Whether an entry is off by more than a long calculation in `dtype` may lose, of terms whose magnitudes add up to
/// `sizes`.
fn is_visible(a: &[f64], g: &[f64], sizes: &[f64], dtype: Dtype, terms: usize) -> bool {
    let roundings = 16.0 * (1.0 + (terms as f64).sqrt() / 4.0);
    let allowed = roundings * dtype.unit_roundoff();
    let off = a.iter().zip(g).map(|(a, g)| (a - g).abs());
    off.zip(sizes).any(|(off, size)| off > allowed * size)
}

/// Whether the loss hardly depends on most samples: fewer than a fifth of the rows are larger than a thousandth of the
/// largest.
fn is_saturated(dlogits: &[f64], k: usize) -> bool {
    let rows: Vec<f64> = dlogits.chunks_exact(k).map(norm).collect();
    let largest = rows.iter().copied().fold(0.0, f64::max);
    let alive = rows.iter().filter(|row| **row > 1e-3 * largest).count();
    alive < 4 || 5 * alive < rows.len()
}

/// The codes that say a factor and nothing else.
const SCALES: [&str; 11] = [
    "accumulated",
    "sum-instead-of-mean",
    "mean-instead-of-sum",
    "divided-by-classes",
    "divided-by-all-rows",
    "divided-by-count-not-weights",
    "sign-flipped",
    "loss-scaled",
    "averaged-over-workers",
    "norm-clipped",
    "scaled",
];
const MOST_CALLS: u32 = 20;
const WORKERS: [f64; 5] = [2.0, 3.0, 4.0, 8.0, 16.0];
const NORMS: [f64; 6] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0];
const SMOOTHINGS: [f64; 4] = [0.05, 0.1, 0.2, 0.3];

/// The codes whose factor this is, within `tolerance`, for the problem that the file describes.
fn coincidences(file: &Program, a: &[f64], scale: f64, tolerance: f64) -> Vec<&'static str> {
    let (n, _, k) = file.shape;
    let (z, valid) = (file.mean_normalizer(), file.counted().len() as f64);
    let (mean, weighted) = (file.is_mean(), file.loss.class_weight.is_some());
    let is = |factor: f64| (scale / factor - 1.0).abs() < tolerance;
    // torch's clip_grad_norm_ adds 1e-6 to the norm.
    let round_norm = |limit: &f64| (norm(a) / limit - 1.0).abs() < tolerance + 2e-6 * scale / limit;
    let table = [
        (
            "accumulated",
            (2..=MOST_CALLS).any(|calls| is(f64::from(calls))),
        ),
        ("sum-instead-of-mean", mean && is(z)),
        ("mean-instead-of-sum", !mean && is(1.0 / z)),
        ("divided-by-classes", is(1.0 / k as f64)),
        (
            "divided-by-all-rows",
            mean && valid < n as f64 && is(valid / n as f64),
        ),
        (
            "divided-by-count-not-weights",
            mean && weighted && is(z / valid),
        ),
        ("loss-scaled", (8..=24).any(|power| is(2f64.powi(power)))),
        (
            "averaged-over-workers",
            (2..=16).any(|m| is(1.0 / f64::from(m))),
        ),
        (
            "norm-clipped",
            (0.0..1.0).contains(&scale) && NORMS.iter().any(round_norm),
        ),
    ];
    let holding = table.into_iter().filter(|(_, holds)| *holds);
    holding.map(|(code, _)| code).collect()
}

fn describe(file: &Program, wrt: Wrt, notes: &str) -> String {
    let (n, d, k) = file.shape;
    let mut text = format!(
        "wrt {} {} n {n} d {d} k {k} scale {:.2} {:?}",
        wrt.name(),
        file.arithmetic.dtype,
        file.scale,
        file.loss.reduction
    );
    let ignored = n - file.counted().len();
    let options = [
        (file.bias.is_some(), "bias".to_owned()),
        (ignored > 0, format!("{ignored} ignored")),
        (file.loss.class_weight.is_some(), "class weights".to_owned()),
        (
            file.loss.label_smoothing > 0.0,
            format!("smoothing {}", file.loss.label_smoothing),
        ),
    ];
    let holding = options.into_iter().filter(|(holds, _)| *holds);
    holding.for_each(|(_, option)| write!(text, " {option}").unwrap());
    text + notes
}

/// Makes one bug in what is drawn; none where the draw has no room for it.
type Bug = fn(&mut Work, &mut Rng) -> Option<()>;

const ANY: &[Wrt] = &Wrt::ALL;
const MATRICES: &[Wrt] = &[Wrt::Input, Wrt::Logits, Wrt::Weight];
const ROWS: &[Wrt] = &[Wrt::Input, Wrt::Logits];
const INPUT: &[Wrt] = &[Wrt::Input];
const FLOATS: &[Dtype] = &[Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
const WIDE: &[Dtype] = &[Dtype::F64, Dtype::F32];
const F32: &[Dtype] = &[Dtype::F32];

/// The catalogue without below-resolution, which is no bug of a gradient.
///
/// A bias's gradient has k entries that add up to 0 and no columns: what is told by structure within the entries
/// (permutations, dropout, clipped values, noise) is left out there, and so is what only the products with the input or
/// the weight show; a softmax over the batch has a bias's gradient of 0. A parameter's gradient has no row for a
/// sample, so single wrong labels cannot be told in it; the order of its rows and columns can. The layer's weight and
/// the input's scaling come in after the logits, so only the input's gradient shows them. A step of stale weights is
/// lost in bf16's rounding.
#[rustfmt::skip]
const CATALOGUE: &[(&str, &[Wrt], &[Dtype], Bug)] = &[
    ("accumulated", ANY, FLOATS, accumulated),
    ("sum-instead-of-mean", ANY, FLOATS, sum_instead_of_mean),
    ("mean-instead-of-sum", ANY, FLOATS, mean_instead_of_sum),
    ("divided-by-classes", ANY, FLOATS, divided_by_classes),
    ("divided-by-all-rows", ANY, FLOATS, divided_by_all_rows),
    ("divided-by-count-not-weights", ANY, FLOATS, divided_by_count),
    ("sign-flipped", ANY, FLOATS, sign_flipped),
    ("loss-scaled", ANY, FLOATS, loss_scaled),
    ("averaged-over-workers", ANY, FLOATS, averaged_over_workers),
    ("norm-clipped", ANY, FLOATS, norm_clipped),
    ("scaled", ANY, FLOATS, scaled),
    ("all-zero", ANY, FLOATS, all_zero),
    ("rows-zero", MATRICES, FLOATS, rows_zero),
    ("ignored-rows-not-masked", MATRICES, FLOATS, ignored_rows_not_masked),
    ("class-weights-missing", MATRICES, FLOATS, class_weights_missing),
    ("rows-permuted", MATRICES, FLOATS, rows_permuted),
    ("wrong-labels", ROWS, FLOATS, wrong_labels),
    ("columns-permuted", MATRICES, FLOATS, columns_permuted),
    ("transposed", MATRICES, FLOATS, transposed_buffer),
    ("input-scaling-missed", INPUT, FLOATS, input_scaling_missed),
    ("one-hot-missing", ANY, FLOATS, one_hot_missing),
    ("softmax-missing", ANY, FLOATS, softmax_missing),
    ("labels-shifted", ANY, FLOATS, labels_shifted),
    ("label-smoothing-missing", ANY, FLOATS, label_smoothing_missing),
    ("softmax-over-batch", MATRICES, FLOATS, over_batch),
    ("sigmoid-instead-of-softmax", MATRICES, FLOATS, sigmoid_instead),
    ("softmax-twice", MATRICES, FLOATS, softmax_twice),
    ("bias-missing", MATRICES, FLOATS, bias_missing),
    ("temperature", MATRICES, FLOATS, temperature),
    ("weight-transposed-or-wrong", INPUT, FLOATS, weight_wrong),
    ("stale-weights", MATRICES, WIDE, stale_weights),
    ("penalty-missing", ANY, FLOATS, penalty_missing),
    ("value-clipped", MATRICES, FLOATS, value_clipped),
    ("half-precision", ANY, WIDE, half_precision),
    ("reduced-precision-matmul", MATRICES, F32, reduced_precision),
    ("dropout-on", MATRICES, FLOATS, dropout_on),
    ("noisy", MATRICES, WIDE, noisy),
    ("not-finite", ANY, FLOATS, not_finite),
];

/// The codes of the catalogue that can be injected with respect to `wrt` in `dtype`.
pub(crate) fn codes(wrt: Wrt, dtype: Dtype) -> Vec<&'static str> {
    let fitting = CATALOGUE
        .iter()
        .filter(|(_, wrts, dtypes, _)| wrts.contains(&wrt) && dtypes.contains(&dtype));
    fitting.map(|(code, ..)| *code).collect()
}

/// None where no draw has such a bug, or none that is larger than the rounding of `dtype`.
pub(crate) fn case(code: &'static str, wrt: Wrt, dtype: Dtype, seed: u64) -> Option<Case> {
    let (.., bug) = CATALOGUE.iter().find(|(name, ..)| *name == code).unwrap();
    draw(&[*bug], code, wrt, dtype, seed)
}

/// Draws until there is room for the bugs and they are seen.
fn draw(bugs: &[Bug], code: &'static str, wrt: Wrt, dtype: Dtype, seed: u64) -> Option<Case> {
    const ATTEMPTS: usize = 100;
    let mix = |seed: u64, byte| seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte);
    let mut rng = Rng::seed_from_u64(code.bytes().chain(wrt.name().bytes()).fold(seed, mix));
    (0..ATTEMPTS).find_map(|_| {
        let mut work = Work::new(wrt, Program::random(&mut rng, dtype));
        if wrt == Wrt::Bias && !has_bias_enough(&work.file, code) {
            return None;
        }
        bugs.iter().try_for_each(|bug| bug(&mut work, &mut rng))?;
        work.finish(code)
    })
}

/// A bias whose gradient has entries enough to tell more than a factor.
fn has_bias_enough(file: &Program, code: &str) -> bool {
    file.bias.is_some() && (SCALES.contains(&code) || file.shape.2 >= 6)
}

/// The two codes, listed in the order in which they are looked for, and the bugs in the order in which they happen.
#[rustfmt::skip]
const PAIRS: &[(&str, &str, [Bug; 2])] = &[
    ("accumulated", "labels-shifted", [labels_shifted, |work, _| accumulate(work, 10)]),
    ("sum-instead-of-mean", "label-smoothing-missing", [label_smoothing_missing, sum_instead_of_mean]),
    ("sign-flipped", "sum-instead-of-mean", [sum_instead_of_mean, sign_flipped]),
    ("divided-by-classes", "rows-zero", [divided_by_classes, rows_zero]),
    ("loss-scaled", "columns-permuted", [loss_scaled, columns_permuted]),
    ("averaged-over-workers", "one-hot-missing", [one_hot_missing, averaged_over_workers]),
    ("sum-instead-of-mean", "class-weights-missing", [class_weights_missing, sum_instead_of_mean]),
    ("rows-permuted", "bias-missing", [bias_missing, rows_permuted]),
    // BCEWithLogitsLoss: the mean is over n·k.
    ("divided-by-classes", "sigmoid-instead-of-softmax", [sigmoid_instead, divided_by_classes]),
];

/// Two bugs at once in the input's gradient; the index counts the pairs round and round.
pub(crate) fn pairs(
    index: usize,
    dtype: Dtype,
    seed: u64,
) -> Option<(&'static str, &'static str, Case)> {
    let (first, second, bugs) = PAIRS[index % PAIRS.len()];
    let case = draw(&bugs, first, Wrt::Input, dtype, seed)?;
    Some((first, second, case))
}

/// Bugs that are in no rule, ten of them, counted round and round; of the input's gradient.
pub(crate) fn foreign(name: usize, dtype: Dtype, seed: u64) -> Case {
    let bug = FOREIGN[name % FOREIGN.len()];
    let seed = seed.wrapping_mul(31).wrapping_add(name as u64);
    draw(&[room, bug], "unknown", Wrt::Input, dtype, seed).unwrap()
}

fn log_uniform(rng: &mut Rng, low: f64, high: f64) -> f64 {
    rng.random_range(low.ln()..high.ln()).exp()
}

fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.random_range(0..values.len())]
}

fn gauss(rng: &mut Rng) -> f64 {
    rng.sample(StandardNormal)
}

fn normal(rng: &mut Rng, dtype: Dtype, count: usize, scale: f64) -> Vec<f64> {
    (0..count)
        .map(|_| round(dtype, gauss(rng) * scale))
        .collect()
}

fn shuffled(rng: &mut Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    order
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len())
        .max_by(|&a, &b| values[a].total_cmp(&values[b]))
        .unwrap()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn rms(values: &[f64]) -> f64 {
    norm(values) / (values.len() as f64).sqrt()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn map(program: &Program, values: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    values
        .iter()
        .map(|&v| program.arithmetic.round(f(v)))
        .collect()
}

/// Of rows of `width` values.
fn transposed(values: &[f64], width: usize) -> Vec<f64> {
    let rows = values.len() / width;
    (0..values.len())
        .map(|e| values[e % rows * width + e / rows])
        .collect()
}

/// To so many significant digits, as people write parameters.
fn digits(value: f64, count: usize) -> f64 {
    format!("{value:.*e}", count - 1).parse().unwrap()
}

fn accumulated(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let calls = rng.random_range(2..=MOST_CALLS);
    if rng.random_bool(0.5) {
        accumulate(work, calls)
    } else {
        accumulate_moving(work, rng, calls)
    }
}

fn accumulate(work: &mut Work, calls: u32) -> Option<()> {
    let arithmetic = work.program.arithmetic;
    work.note(format_args!("{calls} calls with the same weights"));
    work.map(|_, g| (1..calls).fold(g, |sum, _| arithmetic.round(sum + g)));
    Some(())
}

/// Looks for a rate at which the weights move enough to be seen, and not so much that it is another gradient.
fn accumulate_moving(work: &mut Work, rng: &mut Rng, calls: u32) -> Option<()> {
    let (n, d, k) = work.file.shape;
    if n * d * k * calls as usize > 4_000_000 {
        return None;
    }
    let least = match work.dtype() {
        Dtype::F16 | Dtype::BF16 => 0.02,
        _ => 1e-3,
    };
    let goal = log_uniform(rng, 2.0 * least, 0.06);
    let mut rate = log_uniform(rng, 1e-3, 1.0);
    for _ in 0..30 {
        let (file, sum) = descend(&work.file, work.wrt, calls, rate);
        let fit = Fit::of(&sum, &file.exact().gradient(work.wrt));
        let cos = (1.0 - fit.rho * fit.rho).sqrt();
        if !(cos > 0.997 && (fit.scale / f64::from(calls) - 1.0).abs() < 0.1) {
            rate /= 2.0;
        } else if fit.rho < goal / 1.5 {
            rate *= 1.6;
        } else {
            work.note(format_args!(
                "{calls} calls with weights moving at a rate of {rate:.1e}"
            ));
            work.file = file;
            work.gradient = Some(sum);
            return Some(());
        }
    }
    None
}

/// Backward passes into a buffer that nobody clears, and a step of gradient descent after each but the last. If the
/// buffer is a parameter's, the optimiser steps along what is in it.
fn descend(start: &Program, wrt: Wrt, calls: u32, rate: f64) -> (Program, Vec<f64>) {
    let mut program = start.clone();
    let arithmetic = program.arithmetic;
    let add = |buffer: &mut Vec<f64>, gradient: Vec<f64>| {
        buffer.resize(gradient.len(), 0.0);
        let entries = buffer.iter_mut().zip(gradient);
        entries.for_each(|(sum, g)| *sum = arithmetic.round(*sum + g));
    };
    let (mut sum, mut weight, mut bias) = (Vec::new(), Vec::new(), Vec::new());
    for call in 1..=calls {
        let dlogits = program.dlogits();
        add(&mut sum, program.gradient_from(&dlogits, wrt));
        if call == calls {
            break;
        }
        if !wrt.is_parameter() {
            weight.clear();
            bias.clear();
        }
        add(&mut weight, program.gradient_from(&dlogits, Wrt::Weight));
        add(&mut bias, program.gradient_from(&dlogits, Wrt::Bias));
        program.step(rate, &weight, &bias);
    }
    (program, sum)
}

fn sum_instead_of_mean(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    work.program().loss.reduction = Reduction::Sum;
    Some(())
}

fn mean_instead_of_sum(work: &mut Work, _: &mut Rng) -> Option<()> {
    (!work.file.is_mean()).then_some(())?;
    work.program().loss.reduction = Reduction::Mean;
    Some(())
}

fn divided_by_classes(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    let entries = work.program.problem().normalizer() * work.file.shape.2 as f64;
    work.program().divisor = Some(entries);
    Some(())
}

/// A mean over the samples that are not ignored.
fn ignore(work: &mut Work, rng: &mut Rng) {
    work.declare(|program| {
        program.plain(rng);
        program.ignore_some(rng);
    });
}

fn divided_by_all_rows(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    ignore(work, rng);
    work.program().divisor = Some(work.file.shape.0 as f64);
    Some(())
}

/// Labels clamped into range, or rows without a one-hot that keep their probabilities; all of them counted.
fn ignored_rows_not_masked(work: &mut Work, rng: &mut Rng) -> Option<()> {
    ignore(work, rng);
    if rng.random_bool(0.5) {
        work.note("labels clamped");
        let labels = work.program().target.iter_mut();
        labels.for_each(|label| *label = (*label).max(0));
    } else {
        work.note("probabilities alone");
        let n = work.file.shape.0 as f64;
        let divisor = work.file.is_mean().then_some(n);
        work.program().divisor = divisor;
        work.program().backward = by_hand(softmax, true, false);
    }
    Some(())
}

/// Class weights of which at least two count.
fn weigh(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.declare(|program| {
        program.plain(rng);
        program.loss.class_weight = Some(program.draw_class_weight(rng));
    });
    let target = &work.file.target;
    target.iter().any(|label| *label != target[0]).then_some(())
}

fn class_weights_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    weigh(work, rng)?;
    work.program().loss.class_weight = None;
    Some(())
}

fn divided_by_count(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    weigh(work, rng)?;
    work.program().divisor = Some(work.file.shape.0 as f64);
    Some(())
}

fn sign_flipped(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.map(|_, g| -g);
    Some(())
}

fn loss_scaled(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let factor = 2f64.powi(rng.random_range(8..=24));
    work.note(format_args!("times {factor}"));
    work.program().factor = factor;
    Some(())
}

fn averaged_over_workers(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (n, _, k) = work.file.shape;
    let workers = pick(rng, &WORKERS);
    let taken = [n as f64, k as f64, work.file.mean_normalizer()];
    if taken.contains(&workers) {
        return None;
    }
    work.note(format_args!("{workers} workers"));
    work.map(|_, g| g / workers);
    Some(())
}

/// torch.nn.utils.clip_grad_norm_.
fn norm_clipped(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let limit = pick(rng, &[0.1, 0.5, 1.0, 5.0]);
    let total = norm(work.gradient());
    if total < 1.05 * limit {
        return None;
    }
    work.note(format_args!("norm {total:.3e} clipped to {limit}"));
    let factor = limit / (total + 1e-6);
    work.map(|_, g| g * factor);
    Some(())
}

/// By a factor that is nobody else's.
fn scaled(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let factor = pick(rng, &[0.0123, 0.085, 0.37, 0.9, 1.7, 2.72, 5.44, 137.3]);
    work.note(format_args!("times {factor}"));
    work.map(|_, g| factor * g);
    let a = work.gradient().clone();
    coincidences(&work.file, &a, factor, 0.01)
        .is_empty()
        .then_some(())
}

fn all_zero(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.map(|_, _| 0.0);
    Some(())
}

/// The last rows, or any.
fn rows_zero(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (rows, columns) = (work.rows(), work.columns());
    if rows < 4 {
        return None;
    }
    let count = rng.random_range(1..=rows / 2);
    let mut zero = if rng.random_bool(0.5) {
        (rows - count..rows).collect()
    } else {
        shuffled(rng, rows)[..count].to_vec()
    };
    zero.sort_unstable();
    work.note(format_args!("{count} rows 0"));
    work.map(|e, g| {
        if zero.binary_search(&(e / columns)).is_ok() {
            0.0
        } else {
            g
        }
    });
    work.touched.rows = Some(zero);
    Some(())
}

/// Of three or more: of two classes, the one's gradient is the other's with the sign flipped.
fn rows_permuted(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (rows, columns) = (work.rows(), work.columns());
    let (name, order): (_, Vec<usize>) = match rng.random_range(0..3) {
        0 => ("shifted", (0..rows).map(|j| (j + 1) % rows).collect()),
        1 => ("reversed", (0..rows).rev().collect()),
        _ => ("shuffled", shuffled(rng, rows)),
    };
    work.note(format_args!("rows {name}"));
    work.take(|e| order[e / columns] * columns + e % columns);
    (rows >= 3).then_some(())
}

fn columns_permuted(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let columns = work.columns();
    let mut order = shuffled(rng, columns);
    if rng.random_bool(0.5) {
        let (a, b) = (order[0], order[1]);
        order = (0..columns).collect();
        order.swap(a, b);
        work.note(format_args!("columns {a} and {b} exchanged"));
    } else {
        work.note("columns shuffled");
    }
    work.take(|e| e - e % columns + order[e % columns]);
    (columns >= 3).then_some(())
}

/// Written column by column, read row by row.
fn transposed_buffer(work: &mut Work, _: &mut Rng) -> Option<()> {
    let columns = work.columns();
    *work.gradient() = transposed(work.gradient(), columns);
    Some(())
}

fn wrong_labels(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    let (n, _, k) = work.file.shape;
    let count = rng.random_range(1..=(n / 10).max(1));
    let mut rows = shuffled(rng, n)[..count].to_vec();
    rows.sort_unstable();
    for &j in &rows {
        let label = &mut work.program().target[j];
        *label = (*label + rng.random_range(1..k as i64)) % k as i64;
    }
    work.note(format_args!("labels of rows {rows:?}"));
    work.touched.rows = Some(rows);
    Some(())
}

/// All of them, round the end or, if they count from 1, up to the last class.
fn labels_shifted(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    let k = work.file.shape.2 as i64;
    let (name, shift): (_, &dyn Fn(i64) -> i64) = match rng.random_range(0..3) {
        0 => ("y + 1", &|y| (y + 1) % k),
        1 => ("y - 1", &|y| (y + k - 1) % k),
        _ if k > 2 => ("y + 1, clamped", &|y| (y + 1).min(k - 1)),
        _ => return None,
    };
    work.note(name);
    work.program()
        .target
        .iter_mut()
        .for_each(|y| *y = shift(*y));
    Some(())
}

/// The file's input is standardised, and the gradient is that of what it was before.
fn input_scaling_missed(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let d = work.columns();
    let deviations: Vec<f64> = (0..d).map(|_| log_uniform(rng, 0.1, 10.0)).collect();
    work.map(|e, g| g / deviations[e % d]);
    Some(())
}

fn with_backward(work: &mut Work, rng: &mut Rng, backward: Backward) -> Option<()> {
    work.plain(rng);
    work.program().backward = backward;
    Some(())
}

fn one_hot_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(softmax, false, true))
}

fn softmax_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(nothing, true, true))
}

fn sigmoid_instead(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(sigmoid, true, true))
}

fn softmax_twice(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, Rc::new(cross_entropy_of_softmax))
}

fn over_batch(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (name, backward) = if rng.random_bool(0.5) {
        ("by hand", by_hand(softmax_over_batch, true, true))
    } else {
        (
            "log_softmax(dim=0)",
            Rc::new(cross_entropy_over_batch) as Backward,
        )
    };
    work.note(name);
    with_backward(work, rng, backward)
}

fn label_smoothing_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.plain(rng);
    work.declare(|program| program.loss.label_smoothing = pick(rng, &SMOOTHINGS));
    work.program().loss.label_smoothing = 0.0;
    Some(())
}

fn bias_missing(work: &mut Work, _: &mut Rng) -> Option<()> {
    let bias = work.file.bias.as_ref()?;
    let mean = bias.iter().sum::<f64>() / bias.len() as f64;
    let centred: Vec<f64> = bias.iter().map(|b| b - mean).collect();
    work.program().bias = None;
    (rms(&centred) > 0.2).then_some(())
}

/// At which the softmax is no one-hot yet in a third of the rows: those alone can tell it.
fn temperature(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (n, _, k) = work.file.shape;
    let t = pick(rng, &[0.1, 0.5, 2.0, 4.0, 10.0]);
    let chained = rng.random_bool(0.5);
    let z: Vec<f64> = work.file.logits().iter().map(|z| z / t).collect();
    let p = softmax(&work.file, &z);
    let open = p.chunks_exact(k).filter(|p| p[argmax(p)] < 0.99).count();
    if 3 * open < n {
        return None;
    }
    let factor = if chained { "" } else { ", its factor left out" };
    work.note(format_args!("T {t}{factor}"));
    work.program().backward = cross_entropy_at(t, chained);
    Some(())
}

/// The backward pass alone multiplies by another matrix. Fewer samples than classes could not tell it from others.
fn weight_wrong(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let dtype = work.dtype();
    let transposing = rng.random_bool(0.3);
    if transposing {
        let (n, d, k) = work.file.shape;
        let square = (n, d.min(k), d.min(k));
        work.declare(|program| *program = Program::of_shape(rng, dtype, square));
    }
    let (_, d, k) = work.file.shape;
    if k < 3 || work.file.counted().len() <= k + 2 {
        return None;
    }
    let (name, weight) = if transposing {
        ("W transposed", transposed(&work.file.weight, d))
    } else {
        let scale = work.file.scale / (d as f64).sqrt();
        ("another W", normal(rng, dtype, k * d, scale))
    };
    work.note(name);
    work.program().backward_weight = Some(weight);
    Some(())
}

/// A step between the backward pass and the saving of the weights.
fn stale_weights(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let rate = log_uniform(rng, 1e-3, 0.1);
    work.note(format_args!("a step at a rate of {rate:.1e}"));
    work.gradient();
    let gradient = |wrt| work.program.gradient(wrt);
    let (weight, bias) = (gradient(Wrt::Weight), gradient(Wrt::Bias));
    work.file.step(rate, &weight, &bias);
    work.file.is_mean().then_some(())
}

fn penalty_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let penalised = match work.wrt {
        Wrt::Input => work.program.input.clone(),
        Wrt::Weight => work.program.weight.clone(),
        Wrt::Bias => work.program.bias.clone()?,
        Wrt::Logits => work.program.logits(),
    };
    let share = log_uniform(rng, 0.01, 1.0) * rms(work.gradient());
    let lambda = digits(share / rms(&penalised), 2);
    work.note(format_args!("lambda {lambda:.1e}"));
    work.map(|e, g| g + lambda * penalised[e]);
    Some(())
}

fn value_clipped(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let mut sizes: Vec<f64> = work.gradient().iter().map(|g| g.abs()).collect();
    sizes.retain(|size| *size > 0.0);
    sizes.sort_by(f64::total_cmp);
    let place = rng.random_range(0.2..0.95) * sizes.len() as f64;
    let limit = digits(*sizes.get(place as usize)?, 1);
    let beyond = sizes.iter().filter(|size| **size > limit).count();
    if beyond < 2 || sizes.len() - beyond < 2 {
        return None;
    }
    work.note(format_args!(
        "{beyond} of {} clipped to {limit:.0e}",
        sizes.len()
    ));
    work.map(|_, g| g.clamp(-limit, limit));
    Some(())
}

/// Computed wholly in half precision, or in f32 and then stored in it.
fn half_precision(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let half = pick(rng, &[Dtype::F16, Dtype::BF16]);
    if rng.random_bool(0.5) {
        work.note(format_args!("computed in {half}"));
        work.program().cast(half);
    } else {
        work.note(format_args!("stored in {half}"));
        work.program().cast(Dtype::F32);
    }
    work.map(|_, g| round(half, g));
    // f16 has nothing below 2^-24: what it leaves of a small gradient is hardly anything.
    let zeros = |values: &[f64]| values.iter().filter(|g| **g == 0.0).count();
    let (left, all) = (zeros(work.gradient()), work.gradient().len());
    (left < all / 2).then_some(())
}

/// TF32 keeps 10 of f32's 23 explicit bits, rounded to nearest even.
fn tf32(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    let rounded = bits.wrapping_add(0xfff + (bits >> 13 & 1)) & !0x1fff;
    f64::from(f32::from_bits(rounded))
}

fn reduced_precision(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let bf16 = |value| bf16::from_f64(value).to_f64();
    let (name, operand): (_, fn(f64) -> f64) = if rng.random_bool(0.5) {
        ("TF32", tf32)
    } else {
        ("bf16", bf16)
    };
    work.note(format_args!("operands in {name}"));
    work.program().arithmetic.operand = operand;
    Some(())
}

fn dropout_on(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let p = rng.random_range(0.1..0.5);
    let mut dropped = 0;
    work.note(format_args!("p {p:.2}"));
    work.map(|_, g| {
        if rng.random_bool(p) {
            dropped += 1;
            0.0
        } else {
            g / (1.0 - p)
        }
    });
    (dropped > 5 && work.gradient().len() >= 64).then_some(())
}

/// Noise of about what reduced precision makes in f32 cannot be told from it.
fn noisy(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let share = log_uniform(rng, 1e-3, 0.1);
    let deviation = share * rms(work.gradient());
    work.note(format_args!("noise of {share:.1e}"));
    work.map(|_, g| g + deviation * gauss(rng));
    if work.dtype() == Dtype::F32 && share < 6e-3 {
        work.also.push("reduced-precision-matmul");
    }
    Some(())
}

fn not_finite(work: &mut Work, rng: &mut Rng) -> Option<()> {
    for _ in 0..rng.random_range(1..=3) {
        let entry = rng.random_range(0..work.gradient().len());
        let value = pick(rng, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        work.note(format_args!("{value} at {entry}"));
        work.gradient()[entry] = value;
    }
    Some(())
}

/// What is in no rule.
const FOREIGN: [Bug; 10] = [
    noise_in_a_label,
    |work, rng| other_loss(work, rng, "mean square", square),
    |work, rng| other_loss(work, rng, "hinge", hinge),
    |work, rng| other_loss(work, rng, "focal", focal),
    halves_swapped,
    column_of_noise,
    factors_in_a_label,
    absolute,
    squared,
    block_of_noise,
];

/// Enough of everything that a pattern would be seen, and a plain mean.
fn room(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (n, d, k) = work.file.shape;
    work.plain(rng);
    (n >= 32 && d >= 8 && k >= 3 && work.file.is_mean()).then_some(())
}

fn other_loss(
    work: &mut Work,
    rng: &mut Rng,
    name: &str,
    backward: fn(&Program, &[f64]) -> Vec<f64>,
) -> Option<()> {
    work.note(name);
    with_backward(work, rng, Rc::new(backward))
}

/// A label and its rows, at least two; they are what is touched.
fn label(work: &mut Work, rng: &mut Rng) -> Option<Vec<usize>> {
    let target = &work.file.target;
    let label = pick(rng, target);
    let rows: Vec<usize> = (0..target.len()).filter(|j| target[*j] == label).collect();
    work.note(format_args!("label {label}"));
    work.touched.labels = Some(vec![label as usize]);
    work.touched.rows = Some(rows.clone());
    (rows.len() >= 2).then_some(rows)
}

fn noise_in_a_label(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (rows, d, deviation) = (label(work, rng)?, work.columns(), rms(work.gradient()));
    work.note("noise added");
    work.map(|e, g| {
        if rows.contains(&(e / d)) {
            g + deviation * gauss(rng)
        } else {
            g
        }
    });
    Some(())
}

fn factors_in_a_label(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (rows, d) = (label(work, rng)?, work.columns());
    work.note("times random factors");
    work.map(|e, g| {
        if rows.contains(&(e / d)) {
            g * log_uniform(rng, 0.3, 3.0)
        } else {
            g
        }
    });
    Some(())
}

/// In half of the rows: in all of them, it would be a permutation of the columns.
fn halves_swapped(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (n, d) = (work.rows(), work.columns());
    let mut rows = shuffled(rng, n)[..n / 2].to_vec();
    rows.sort_unstable();
    work.note("halves of half of the rows swapped");
    let half = d / 2;
    let swapped = |column: usize| match column {
        column if column >= 2 * half => column,
        column => (column + half) % (2 * half),
    };
    work.take(|e| match rows.binary_search(&(e / d)) {
        Ok(_) => e - e % d + swapped(e % d),
        Err(_) => e,
    });
    work.touched.rows = Some(rows);
    Some(())
}

fn column_of_noise(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (d, deviation) = (work.columns(), rms(work.gradient()));
    let column = rng.random_range(0..d);
    work.note(format_args!("noise for column {column}"));
    work.map(|e, g| {
        if e % d == column {
            deviation * gauss(rng)
        } else {
            g
        }
    });
    work.touched.columns = Some(vec![column]);
    Some(())
}

fn absolute(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.note("absolute values");
    work.map(|_, g| g.abs());
    Some(())
}

fn squared(work: &mut Work, _: &mut Rng) -> Option<()> {
    let size = rms(work.gradient());
    work.note("squares with signs");
    work.map(|_, g| g * g.abs() / size);
    Some(())
}

fn block_of_noise(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let (n, d, deviation) = (work.rows(), work.columns(), rms(work.gradient()));
    let (rows, columns) = (n / 3..n / 3 + n / 4, d / 4..d / 4 + d / 2);
    work.note(format_args!("noise for {rows:?} x {columns:?}"));
    work.map(|e, g| {
        if rows.contains(&(e / d)) && columns.contains(&(e % d)) {
            deviation * gauss(rng)
        } else {
            g
        }
    });
    work.touched.rows = Some(rows.collect());
    work.touched.columns = Some(columns.collect());
    Some(())
}
