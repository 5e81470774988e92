//! The experiment that the project started from, as a text to learn from: why a numeric check of an input's gradient
//! was 90 % off at every step size (stats.stackexchange.com, question 491171).

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

use crate::{
    check::{self, Options, Subject},
    cpu::{logits::logits, loss::loss, matmul::matmul, residual::residual},
    device::Device,
    error::Result,
    loss::{CrossEntropy, TargetRows},
    output::{document::Check, words},
    plan::RoundingModel,
    problem::{Problem, Wrt},
    report::CheckReport,
    scheme::Precision,
    tensor::{Dtype, Tensor},
};

const N: usize = 10;
const D: usize = 4;
const K: usize = 2;
const EPOCHS: usize = 10;
const LEARNING_RATE: f32 = 1e-3;
const SEED: u64 = 0;

/// The asker's steps, as powers of ten; the logits were tried at some of them only.
const INPUT_EXPONENTS: std::ops::RangeInclusive<i32> = 0..=8;
const LOGITS_EXPONENTS: std::ops::RangeInclusive<i32> = 1..=6;

/// Runs the experiment and tells it.
///
/// # Errors
/// None that a user could cause: the operands are made here.
pub(crate) fn run() -> Result<String> {
    let it = Experiment::run(SEED);
    let as_asked = table(|wrt, eps| {
        let gradient = if wrt == Wrt::Input {
            &it.accumulated
        } else {
            &it.logits_gradient
        };
        Ok(mean_rel_err(gradient, &it.plain_differences(wrt, eps)))
    })?;
    let cleared = table(|wrt, eps| {
        Ok(mean_rel_err(
            it.gradient(wrt),
            &it.plain_differences(wrt, eps),
        ))
    })?;
    let by_difference = table(|wrt, eps| {
        let options = Options {
            eps: Some(eps),
            precision: Some(Precision::F32),
            ..Options::default()
        };
        Ok(it
            .check(wrt, it.gradient(wrt), &options)?
            .tally
            .mean_rel_err())
    })?;
    let verdict = it.check(Wrt::Input, &it.accumulated, &Options::default())?;
    let sentence = words::sentence(&Check::from(&verdict));
    let fix = verdict.findings.first().map_or("", |finding| &finding.fix);
    Ok(format!(
        "\
A gradient check that is 90 % off at every step size

Somebody trains a linear layer ({D} features, {K} classes) on {N} samples for {EPOCHS} epochs, in float32,

    x.requires_grad = True
    for i in range({EPOCHS}):
        opt.zero_grad()
        y = m(x)
        y.retain_grad()
        loss = crit(y, t)
        loss.backward()
        if i < {EPOCHS} - 1:
            opt.step()

and compares x.grad (the input's) and y.grad (the logits') with (L(x + eps) - L(x - eps)) / (2 eps).
An error of 1e-2 or less, relative and on average, would be fine.

1. What they saw: the input's gradient is 90 % off at every step at which there is anything to see, and the logits'
   is fine, but at large steps only.

{as_asked}
2. The same with x.grad = None before each backward pass. Now both are fine at large steps, and both drown in
   noise at small ones.

{cleared}
3. The same gradients, still in float32, but by the `difference` method in place of the subtraction of two losses.
   What a finite step leaves out falls as eps², and nothing rises again.

{by_difference}
What went wrong

   x.grad was never cleared: opt.zero_grad() clears the gradients of the layer's parameters, and x is not one of them.
   So after {EPOCHS} epochs x.grad is the sum of {EPOCHS} backward passes, about {EPOCHS} times the gradient, and 1 - 1/{EPOCHS} = 0.9 is the
   relative error whatever eps is; y is a new tensor in each epoch, so y.grad is the last pass's alone, and right.
   The noise at small eps is float32's: a loss near 0.7 is known to about 3e-8, two of them subtracted and divided by
   2 eps leave an error near 3e-8 / eps, and the gradient's entries here are all below 0.1.

What gradprobe says of the x.grad of table 1

   {sentence}
   Fix: {fix}.
"
    ))
}

/// A row a step: the mean relative error of the input's gradient and of the logits'.
fn table(error: impl Fn(Wrt, f64) -> Result<f64>) -> Result<String> {
    let mut table = "      eps       input      logits\n".to_owned();
    for exponent in INPUT_EXPONENTS {
        let eps = 10f64.powi(-exponent);
        table += &format!(
            "    {:<4}    {:>8.2e}",
            format!("{eps:.0e}"),
            error(Wrt::Input, eps)?
        );
        if LOGITS_EXPONENTS.contains(&exponent) {
            table += &format!("    {:>8.2e}", error(Wrt::Logits, eps)?);
        }
        table += "\n";
    }
    Ok(table)
}

/// The asker's program, in f32: what it trains, and the gradients that it ends up with.
struct Experiment {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    target: Vec<u32>,
    /// x.grad after ten epochs.
    accumulated: Vec<f32>,
    /// What x.grad would be, had it been cleared before the last backward pass.
    input_gradient: Vec<f32>,
    /// y.grad of the last epoch.
    logits_gradient: Vec<f32>,
}

impl Experiment {
    fn run(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let input: Vec<f32> = (0..N * D).map(|_| rng.sample(StandardNormal)).collect();
        let target: Vec<u32> = (0..N).map(|_| rng.random_range(0..K as u32)).collect();
        // PyTorch's initialisation of a linear layer.
        let reach = 1.0 / (D as f32).sqrt();
        let mut uniform = |count: usize| {
            (0..count)
                .map(|_| rng.random_range(-reach..reach))
                .collect::<Vec<f32>>()
        };
        let (weight, bias) = (uniform(K * D), uniform(K));
        let mut it = Self {
            input,
            weight,
            bias,
            target,
            accumulated: vec![0.0; N * D],
            input_gradient: Vec::new(),
            logits_gradient: Vec::new(),
        };
        for epoch in 0..EPOCHS {
            it.backward();
            if epoch < EPOCHS - 1 {
                it.step();
            }
        }
        it
    }

    fn backward(&mut self) {
        let z = logits(&self.input, &self.weight, &self.bias, D);
        let law = RoundingModel::new(Dtype::F32, K);
        let residual = residual(&z.logits, &z.magnitude, &self.target_rows(), law, K).gradient;
        self.logits_gradient = residual.iter().map(|r| r / N as f32).collect();
        self.input_gradient = matmul(&self.logits_gradient, &self.weight, D);
        for (sum, gradient) in self.accumulated.iter_mut().zip(&self.input_gradient) {
            *sum += gradient;
        }
    }

    fn target_rows(&self) -> TargetRows<f32> {
        TargetRows {
            labels: self.target.clone(),
            totals: vec![1.0; N],
            linear: None,
        }
    }

    /// One step of gradient descent.
    fn step(&mut self) {
        for (row, gradient) in self
            .input
            .chunks_exact(D)
            .zip(self.logits_gradient.chunks_exact(K))
        {
            for (c, gradient) in gradient.iter().enumerate() {
                self.bias[c] -= LEARNING_RATE * gradient;
                for (weight, x) in self.weight[c * D..].iter_mut().zip(row) {
                    *weight -= LEARNING_RATE * gradient * x;
                }
            }
        }
    }

    /// The right gradient.
    fn gradient(&self, wrt: Wrt) -> &[f32] {
        match wrt {
            Wrt::Input => &self.input_gradient,
            _ => &self.logits_gradient,
        }
    }

    /// The asker's finite differences: the loss of the whole batch in f32, twice an entry.
    fn plain_differences(&self, wrt: Wrt, eps: f64) -> Vec<f64> {
        let z = logits(&self.input, &self.weight, &self.bias, D).logits;
        let at = match wrt {
            Wrt::Input => &self.input,
            _ => &z,
        };
        let mean_loss = |point: &[f32]| {
            let losses = match wrt {
                Wrt::Input => loss(
                    &logits(point, &self.weight, &self.bias, D).logits,
                    &self.target_rows(),
                    0,
                    1,
                    K,
                ),
                _ => loss(point, &self.target_rows(), 0, 1, K),
            };
            f64::from(losses.iter().sum::<f32>() / N as f32)
        };
        let derivative = |entry: usize| {
            let moved = |step: f64| {
                let mut point = at.clone();
                point[entry] += step as f32;
                mean_loss(&point)
            };
            (moved(eps) - moved(-eps)) / (2.0 * eps)
        };
        (0..at.len()).map(derivative).collect()
    }

    fn check(&self, wrt: Wrt, gradient: &[f32], options: &Options) -> Result<CheckReport> {
        let target: Vec<i64> = self.target.iter().map(|&class| class.into()).collect();
        let problem = Problem::new(
            Tensor::from_f32(&[N, D], &self.input),
            Tensor::from_f32(&[K, D], &self.weight),
            Some(Tensor::from_f32(&[K], &self.bias)),
            &Tensor::from_classes(&target),
            CrossEntropy::default(),
        )?;
        let gradient = Tensor::from_f32(&[N, problem.columns(wrt)], gradient);
        let subject = Subject {
            wrt,
            gradient: Some(gradient),
        };
        let mut report = check::check(
            &problem,
            &[subject],
            options,
            &Device::Cpu { note: None },
            &mut (),
        )?;
        Ok(report.checks.remove(0))
    }
}

/// The mean over the entries of |a - g| / max(|a|, |g|).
fn mean_rel_err(analytic: &[f32], numeric: &[f64]) -> f64 {
    let errors = analytic.iter().zip(numeric).map(|(&a, g)| {
        let a = f64::from(a);
        if a == *g {
            0.0
        } else {
            (a - g).abs() / a.abs().max(g.abs())
        }
    });
    errors.sum::<f64>() / analytic.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asker_sees_nine_tenths_at_every_step_and_the_cleared_gradient_is_right() {
        let it = Experiment::run(SEED);
        for exponent in 0..=4 {
            let error = mean_rel_err(
                &it.accumulated,
                &it.plain_differences(Wrt::Input, 10f64.powi(-exponent)),
            );
            assert!((error - 0.9).abs() < 0.01, "eps 1e-{exponent}: {error}");
        }
        let errors: Vec<f64> = (1..=6)
            .map(|exponent| {
                mean_rel_err(
                    &it.logits_gradient,
                    &it.plain_differences(Wrt::Logits, 10f64.powi(-exponent)),
                )
            })
            .collect();
        // The U: some step in the middle is a hundred times better than the smallest, and better than the largest.
        let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(best < 1e-2 * errors[5] && best < errors[0], "{errors:?}");
    }

    #[test]
    fn the_text_names_the_accumulation_and_its_factor() {
        let text = run().unwrap();
        assert!(text.contains("sum of 10 backward passes"), "{text}");
    }
}
