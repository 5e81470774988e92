//! What the rules look at: the gradient under test, the right one, and what any other model of the loss would have given instead, at
//! the same entries.
//!
//! The right gradient is the closed form in f64 on the host, which the difference has confirmed by then; how far from it a correct
//! gradient of the type under test may be is what [`RoundingModel`] says.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use rayon::prelude::*;

use super::pair::Pair;
use crate::{
    budget,
    cpu::{logits::logits, matmul::matmul, ordered::fold_parts, outer::outer},
    loss::{NO_LABEL, Reduction, TargetRows},
    problem::{Problem, Wrt},
    report::{Comparison, Ranges},
    rounding::{RoundingModel, nonlinearity},
    tensor::{Dtype, Tensor},
};

/// Samples that a thread takes at a time.
const BLOCK: usize = 64;
/// A linear layer.
#[derive(Clone)]
pub(super) struct Layer {
    /// [k, d].
    pub(super) weight: Vec<f64>,
    /// `[k]`.
    pub(super) bias: Vec<f64>,
}

/// How the gradient moves as the weights move up the loss.
#[derive(Clone)]
pub(super) struct Drift {
    /// dL/dW and dL/db.
    pub(super) direction: Layer,
    /// The derivative of the gradient along it.
    pub(super) slope: Vec<f64>,
}

/// What a model of the loss sees of a sample.
pub(super) struct Datum<'a> {
    pub(super) index: usize,
    /// z, `[k]`.
    pub(super) logits: &'a [f64],
    /// p, `[k]`.
    pub(super) softmax: &'a [f64],
    /// r, `[k]`: one-hot unless smoothed, weighted or given as probabilities.
    pub(super) target: &'a [f64],
    /// R, the sum of r.
    pub(super) total: f64,
}

/// Writes the derivative of a sample's loss with respect to its logits as `soft - hard`: what is made of logits, and so as
/// inexact as they are, and what is not. Both are zeros before.
pub(super) type Model<'a> = dyn Fn(&Datum, &mut [f64], &mut [f64]) + Sync + 'a;

/// The loss as it is: R p - r.
pub(super) fn cross_entropy(sample: &Datum, soft: &mut [f64], hard: &mut [f64]) {
    soft.iter_mut()
        .zip(sample.softmax)
        .for_each(|(soft, p)| *soft = sample.total * p);
    hard.copy_from_slice(sample.target);
}

/// The softmax of a row of logits, in their place.
pub(super) fn softmax(logits: &mut [f64]) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|exp| *exp /= sum);
}

/// One gradient under test, and the means to predict what it would be if something were otherwise.
#[derive(Clone)]
pub(super) struct Evidence<'a> {
    pub(super) problem: &'a Problem,
    pub(super) check: &'a Comparison,
    pub(super) wrt: Wrt,
    /// The rows of the gradient that are looked at: all where they are few, else those that are wrong and a draw of the others.
    pub(super) rows: Vec<usize>,
    /// The layer as it is.
    pub(super) layer: Arc<Layer>,
    gradient: &'a Tensor,
    /// Whether a model counts as an explanation too where it is one up to the order of rows or columns.
    pub(super) any_order: bool,
    /// [`Drift`], of a draw of the samples and of all.
    pub(super) drifts: [OnceLock<Option<Drift>>; 2],
    /// What the operands of matrix products are rounded by.
    operands: Option<Rounding>,
}

/// A rounding to fewer bits.
pub(super) type Rounding = fn(f64) -> f64;

impl<'a> Evidence<'a> {
    pub(super) fn new(problem: &'a Problem, gradient: &'a Tensor, check: &'a Comparison) -> Self {
        let wrt = check.wrt;
        let layer = Arc::new(Layer {
            weight: problem.weight().values(),
            bias: problem.bias(),
        });
        let rows = if wrt.is_parameter() {
            classes_looked_at(problem, wrt)
        } else {
            looked_at(problem, check)
        };
        Self {
            problem,
            check,
            wrt,
            rows,
            layer,
            gradient,
            any_order: false,
            drifts: Default::default(),
            operands: None,
        }
    }

    /// The same on a machine that rounds the operands of matrix products.
    pub(super) fn with_operands(&self, rounding: Rounding) -> Self {
        Self {
            layer: Arc::new(Layer {
                weight: self.layer.weight.iter().map(|w| rounding(*w)).collect(),
                bias: self.layer.bias.clone(),
            }),
            operands: Some(rounding),
            ..self.clone()
        }
    }

    /// The same, with models that explain the gradient up to the order of its rows or columns.
    pub(super) fn reordered(&self) -> Self {
        Self {
            any_order: true,
            ..self.clone()
        }
    }

    /// Whether predictions under other causes take no longer than the check itself did.
    pub(super) fn is_affordable(&self) -> bool {
        budget::is_diagnosed_in_full(self.problem, self.wrt)
    }

    /// Columns of the gradient.
    pub(super) fn columns(&self) -> usize {
        self.problem.columns(self.wrt)
    }

    /// Whether every row is looked at.
    pub(super) fn is_whole(&self) -> bool {
        self.rows.len() == self.problem.rows(self.wrt)
    }

    /// Whether the loss is a mean.
    pub(super) fn is_mean(&self) -> bool {
        self.problem.loss().reduction == Reduction::Mean
    }

    /// Whether classes have weights of their own.
    pub(super) fn is_weighted(&self) -> bool {
        self.problem.loss().class_weight.is_some()
    }

    /// The numbers, in the whole gradient, of some of its rows.
    pub(super) fn numbers(&self, rows: &Ranges) -> Ranges {
        let number = |row| self.problem.row_number(self.wrt, row);
        rows.iter().map(number).collect()
    }

    /// How many samples count, and how many there are.
    pub(super) fn valid_rows(&self) -> (f64, f64) {
        let (all, valid) = self.problem.valid_samples();
        (valid as f64, all as f64)
    }

    /// The gradient under test against the right one.
    pub(super) fn pair(&self) -> Pair {
        let given = self.given(&self.rows);
        let right = self.predict(&self.layer, &cross_entropy);
        let allowed = self.allowed(&self.layer, &cross_entropy, &right, self.check.dtype);
        Pair::new(
            given,
            right,
            allowed,
            self.columns(),
            self.check.dtype,
            self.check.tolerance,
        )
    }

    /// Rows of the gradient under test.
    pub(super) fn given(&self, rows: &[usize]) -> Vec<f64> {
        let row = |&row: &usize| self.gradient.rows::<f64>(row..row + 1);
        rows.iter().flat_map(row).collect()
    }

    /// The gradient, at the rows that are looked at, if the loss were `model` over `layer`.
    pub(super) fn predict(&self, layer: &Layer, model: &Model) -> Vec<f64> {
        self.predict_rows(&self.rows, layer, model)
    }

    /// The same at other rows.
    pub(super) fn predict_rows(&self, rows: &[usize], layer: &Layer, model: &Model) -> Vec<f64> {
        let z = self.problem.normalizer();
        let derivative = |block: &Block| block.derivative(z);
        self.product(rows, layer, model, &layer.weight, &derivative, false)
    }

    /// The loss's derivative with respect to the logits of these samples, [samples, k].
    pub(super) fn derivatives(&self, samples: &[usize], layer: &Layer, model: &Model) -> Vec<f64> {
        let z = self.problem.normalizer();
        let blocks = samples.par_chunks(BLOCK);
        let blocks = blocks.map(|samples| self.block(samples, layer, model).derivative(z));
        blocks.collect::<Vec<_>>().concat()
    }

    /// What rounding in `dtype` explains of a gradient like `values`, which [`Evidence::predict`] gave for this layer and model.
    pub(super) fn allowed(
        &self,
        layer: &Layer,
        model: &Model,
        values: &[f64],
        dtype: Dtype,
    ) -> Vec<f64> {
        self.allowed_rows(&self.rows, layer, model, values, dtype)
    }

    /// The same at other rows.
    ///
    /// This is the tolerance of [`rounding`](crate::rounding) with three differences, because it
    /// bounds predictions of any loss, not the entries of this one:
    ///
    /// 1. `soft` need not be a softmax, so T is bounded by 2 (1 - |soft|) times the largest logit
    ///    error of the row, instead of a sum over its classes.
    /// 2. The other side is the closed form in f64, whose rounding replaces the noise.
    /// 3. The user's tolerances are added to rounding, and do not replace it: a prediction within
    ///    rounding is a match, even if the user's tolerance is tighter.
    pub(super) fn allowed_rows(
        &self,
        rows: &[usize],
        layer: &Layer,
        model: &Model,
        values: &[f64],
        dtype: Dtype,
    ) -> Vec<f64> {
        let law = RoundingModel::new(dtype, self.problem.terms(self.wrt));
        let u = dtype.unit_roundoff();
        let factor =
            2.0 * RoundingModel::LOGITS * u + RoundingModel::LOGITS * Dtype::F64.unit_roundoff();
        let z = self.problem.normalizer();
        let conditioning = |block: &Block| -> Vec<f64> {
            let k = layer.bias.len();
            let mut conditioning = Vec::with_capacity(block.soft.len());
            let rows = block.soft.chunks_exact(k).zip(block.hard.chunks_exact(k));
            for ((soft, hard), moved) in rows.zip(block.moved(law)) {
                let spread = nonlinearity(u, moved);
                conditioning.extend(soft.iter().zip(hard).map(|(&soft, &hard)| {
                    // What of it is a probability moves by at most 2 p (1 - p) times the most that a logit moves.
                    let q = soft.abs().clamp(f64::MIN_POSITIVE, 1.0);
                    let softness = soft.abs() * (2.0 * (1.0 - q).max(u) * moved - q.ln());
                    factor / z * spread * (law.sums * (soft.abs() + (soft - hard).abs()) + softness)
                }));
            }
            conditioning
        };
        let abs: Vec<f64> = match self.wrt {
            Wrt::Input => layer.weight.iter().map(|w| w.abs()).collect(),
            _ => Vec::new(),
        };
        let rounding = self.product(rows, layer, model, &abs, &conditioning, true);
        let tolerance = self.check.tolerance;
        let (rtol, atol) = tolerance
            .given
            .map_or((0.0, 0.0), |given| (given.rtol, given.atol));
        let entries = rounding.into_iter().zip(values);
        entries
            .map(|(rounding, value)| {
                rounding + (tolerance.drift + rtol) * value.abs() + tolerance.floor + atol
            })
            .collect()
    }

    /// What the samples' rows of [.., k], made by `of`, give for the gradient: times the weight, as they are, or summed over the samples.
    fn product(
        &self,
        rows: &[usize],
        layer: &Layer,
        model: &Model,
        weight: &[f64],
        of: &(dyn Fn(&Block) -> Vec<f64> + Sync),
        magnitudes: bool,
    ) -> Vec<f64> {
        let (d, k) = (self.problem.d(), self.problem.k());
        let of_classes = |left: Vec<f64>| {
            if self.wrt.is_parameter() && rows.len() < k {
                left.chunks_exact(k)
                    .flat_map(|left| rows.iter().map(|&class| left[class]))
                    .collect()
            } else {
                left
            }
        };
        let with_input = |left: Vec<f64>, mut input: Vec<f64>| {
            if magnitudes {
                input.iter_mut().for_each(|x| *x = x.abs());
            }
            outer(&left, &input, rows.len(), d)
        };
        let all: Vec<usize>;
        let samples = if self.wrt.is_parameter() {
            all = (0..self.problem.n()).collect();
            &all
        } else {
            rows
        };
        let part = |samples: &[usize]| {
            let block = self.block(samples, layer, model);
            let mut left = of_classes(of(&block));
            if let (Some(rounding), Wrt::Input | Wrt::Weight) = (self.operands, self.wrt) {
                // What meets the rounding is in f32.
                left.iter_mut()
                    .for_each(|g| *g = rounding(f64::from(*g as f32)));
            }
            match self.wrt {
                Wrt::Input => matmul(&left, weight, d),
                Wrt::Logits => left,
                Wrt::Weight => with_input(left, block.input),
                Wrt::Bias => outer(&left, &vec![1.0; samples.len()], rows.len(), 1),
            }
        };
        if self.wrt.is_parameter() {
            sum_over(samples, rows.len() * self.columns(), part)
        } else {
            samples
                .par_chunks(BLOCK)
                .map(part)
                .collect::<Vec<_>>()
                .concat()
        }
    }

    /// All samples, or for a first look a draw of them that takes no time.
    pub(super) fn samples(&self, first_look: bool) -> Vec<usize> {
        let n = self.problem.n();
        let most = budget::first_look_samples(self.problem);
        if first_look && most < n {
            spread(0..most, n).collect()
        } else {
            (0..n).collect()
        }
    }

    /// Whether a first look sees all samples.
    pub(super) fn draws_are_all(&self) -> bool {
        self.samples(true).len() == self.problem.n()
    }

    /// The derivative of the loss of these samples with respect to the layer; zeros for a bias that is not there.
    pub(super) fn layer_gradient(&self, layer: &Layer, samples: &[usize]) -> Layer {
        let (d, k) = (self.problem.d(), self.problem.k());
        let (z, model) = (self.problem.normalizer(), &cross_entropy);
        // A draw, or the rows that were selected, stand for all.
        let (all, _) = self.problem.valid_samples();
        let z = z * samples.len() as f64 / all as f64;
        let mut weight = sum_over(samples, k * d + k, |samples| {
            let block = self.block(samples, layer, model);
            let left = block.derivative(z);
            let mut part = outer(&left, &block.input, k, d);
            part.extend(outer(&left, &vec![1.0; samples.len()], k, 1));
            part
        });
        let mut bias = weight.split_off(k * d);
        if !self.problem.has_bias() {
            bias.fill(0.0);
        }
        Layer { weight, bias }
    }

    /// Folds over samples, looked at or not.
    pub(super) fn each_sample<T: Send>(
        &self,
        samples: &[usize],
        empty: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, &Datum) + Sync,
        merge: impl Fn(T, T) -> T + Sync,
    ) -> T {
        let part = |range: Range<usize>| {
            let mut part = empty();
            for block in samples[range].chunks(BLOCK) {
                self.forward(block, &self.layer, |sample| add(&mut part, sample));
            }
            part
        };
        fold_parts(0..samples.len(), BLOCK, part, empty(), merge)
    }

    /// The forward pass of these samples; returns their input and the magnitudes behind their logits.
    fn forward(
        &self,
        samples: &[usize],
        layer: &Layer,
        mut of: impl FnMut(&Datum),
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (d, k) = (self.problem.d(), self.problem.k());
        let mut input: Vec<f64> = samples
            .iter()
            .flat_map(|&j| self.problem.input().rows::<f64>(j..j + 1))
            .collect();
        if let Some(rounding) = self.operands {
            input.iter_mut().for_each(|x| *x = rounding(*x));
        }
        let z = logits(&input, &layer.weight, &layer.bias, d);
        let (mut p, mut r) = (vec![0.0; k], vec![0.0; k]);
        for (&index, logits) in samples.iter().zip(z.logits.chunks_exact(k)) {
            p.copy_from_slice(logits);
            softmax(&mut p);
            let total = target(self.problem, index, &mut r);
            of(&Datum {
                index,
                logits,
                softmax: &p,
                target: &r,
                total,
            });
        }
        (input, z.logits, z.magnitude)
    }

    fn block(&self, samples: &[usize], layer: &Layer, model: &Model) -> Block {
        let k = self.problem.k();
        let entries = samples.len() * k;
        let (mut soft, mut hard) = (vec![0.0; entries], vec![0.0; entries]);
        let mut rows = soft.chunks_exact_mut(k).zip(hard.chunks_exact_mut(k));
        let (input, logits, magnitude) = self.forward(samples, layer, |sample| {
            let (soft, hard) = rows.next().expect("a row a sample");
            model(sample, soft, hard);
        });
        Block {
            input,
            logits,
            magnitude,
            soft,
            hard,
            k,
        }
    }
}

/// A few samples.
struct Block {
    input: Vec<f64>,
    logits: Vec<f64>,
    magnitude: Vec<f64>,
    soft: Vec<f64>,
    hard: Vec<f64>,
    k: usize,
}

impl Block {
    /// (soft - hard) / z, [samples, k].
    fn derivative(&self, z: f64) -> Vec<f64> {
        let entries = self.soft.iter().zip(&self.hard);
        entries.map(|(soft, hard)| (soft - hard) / z).collect()
    }

    /// How far the logits of each row may have moved.
    fn moved(&self, law: RoundingModel) -> impl Iterator<Item = f64> + '_ {
        let rows = self
            .logits
            .chunks_exact(self.k)
            .zip(self.magnitude.chunks_exact(self.k));
        rows.map(move |(z, a)| {
            let moved = z.iter().zip(a).map(|(&z, &a)| law.logit_error(z, a));
            moved.fold(0.0, f64::max)
        })
    }
}

/// Writes r of a sample, and returns R.
pub(super) fn target(problem: &Problem, index: usize, r: &mut [f64]) -> f64 {
    r.fill(0.0);
    if problem.is_one_hot() {
        let Some(label) = problem.label(index) else {
            return 0.0;
        };
        let weights = &problem.loss().class_weight;
        r[label] = weights.as_ref().map_or(1.0, |weights| weights[label]);
        return r[label];
    }
    let TargetRows {
        labels,
        totals,
        linear,
    } = problem.target_rows::<f64>(index..index + 1);
    if let Some(linear) = linear {
        r.iter_mut()
            .zip(linear)
            .for_each(|(r, linear)| *r = -linear);
    }
    if labels[0] != NO_LABEL {
        r[labels[0] as usize] += totals[0];
    }
    totals[0]
}

/// Returns the sum of `of` over the blocks of samples, `length` numbers.
fn sum_over(
    samples: &[usize],
    length: usize,
    of: impl Fn(&[usize]) -> Vec<f64> + Sync,
) -> Vec<f64> {
    let part = |range: Range<usize>| {
        let mut sum = vec![0.0; length];
        let blocks = samples[range].chunks(BLOCK);
        blocks.for_each(|block| add(&mut sum, &of(block)));
        sum
    };
    let fold = |mut sum: Vec<f64>, part: Vec<f64>| {
        add(&mut sum, &part);
        sum
    };
    fold_parts(0..samples.len(), BLOCK, part, vec![0.0; length], fold)
}

fn add(sum: &mut [f64], part: &[f64]) {
    sum.iter_mut()
        .zip(part)
        .for_each(|(sum, part)| *sum += part);
}

/// So many indices out of so many. Evenly spaced ones would miss, or hit, a period; these are spread by the golden ratio.
fn spread(draws: Range<usize>, of: usize) -> impl Iterator<Item = usize> {
    draws.map(move |i| ((i as f64 * 0.618_033_988_749_895).fract() * of as f64) as usize)
}

/// The classes to look at: those rows of a parameter's gradient.
fn classes_looked_at(problem: &Problem, wrt: Wrt) -> Vec<usize> {
    let k = problem.k();
    let most = budget::diagnosed_rows(problem, wrt);
    if most == k {
        return (0..k).collect();
    }
    let mut classes: Vec<usize> = spread(0..most, k).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// The rows to look at: as many as time allows, half of them wrong ones where the wrong ones are few.
fn looked_at(problem: &Problem, check: &Comparison) -> Vec<usize> {
    let n = problem.n();
    let most = budget::diagnosed_rows(problem, check.wrt);
    if most == n {
        return (0..n).collect();
    }
    let wrong: Vec<usize> = check.tally.places.rows.iter().collect();
    let drawn = most / 2;
    // A rare and gross error, such as NaN, is among the worst.
    let kept = check.tally.kept.worst.iter().chain(&check.tally.kept.wrong);
    let mut rows: Vec<usize> = kept.map(|entry| entry.index[0]).collect();
    if wrong.len() <= drawn {
        rows.extend(wrong)
    } else {
        rows.extend(spread(0..drawn, wrong.len()).map(|i| wrong[i]))
    }
    rows.extend(spread(rows.len()..most.max(rows.len()), n));
    rows.sort_unstable();
    rows.dedup();
    rows
}
