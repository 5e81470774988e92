//! `gradprobe demo`: the experiment that the project started from, as a story. A numeric check
//! of a gradient was 90 % off at every step size (stats.stackexchange.com, question 491171).

use std::ops::RangeInclusive;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

use crate::{
    check::{self, Options, Subject},
    cpu::{logits::logits, loss::loss, matmul::matmul, residual::residual},
    device::Device,
    error::Result,
    loss::{CrossEntropy, TargetRows},
    output::words,
    problem::{Problem, Wrt},
    report::Check,
    rounding::RoundingModel,
    scheme::Precision,
    tensor::{Dtype, Tensor},
};

// The sizes and the learning rate of the question.
const N: usize = 10;
const D: usize = 4;
const K: usize = 2;
const EPOCHS: usize = 10;
const LEARNING_RATE: f32 = 1e-3;

/// Seed of the data and of the initial weights. Chosen.
const SEED: u64 = 0;

/// Step sizes of the question, as exponents of 1/10. Fewer were tried for the logits.
const INPUT_EXPONENTS: RangeInclusive<i32> = 0..=8;
const LOGITS_EXPONENTS: RangeInclusive<i32> = 1..=6;

/// Width of the text in characters: that of a terminal.
const WIDTH: usize = 80;

/// Runs the experiment and returns the story.
///
/// # Errors
/// Those of [`check::check`]. They do not depend on the user: the operands are made here.
pub(crate) fn run() -> Result<String> {
    let experiment = Experiment::run(SEED);
    let as_asked = table(|wrt, eps| {
        let gradient = if wrt == Wrt::Input {
            &experiment.accumulated
        } else {
            &experiment.logits_gradient
        };
        Ok(mean_rel_err(
            gradient,
            &experiment.plain_differences(wrt, eps),
        ))
    })?;
    let cleared = table(|wrt, eps| {
        let numeric = experiment.plain_differences(wrt, eps);
        Ok(mean_rel_err(experiment.gradient(wrt), &numeric))
    })?;
    let by_difference = table(|wrt, eps| {
        let options = Options {
            eps: Some(eps),
            precision: Some(Precision::F32),
            ..Options::default()
        };
        Ok(experiment
            .check(wrt, experiment.gradient(wrt), &options)?
            .rel_err
            .mean)
    })?;
    let check = experiment.check(Wrt::Input, &experiment.accumulated, &Options::default())?;
    let fix = check.findings.first().map_or("", |finding| &finding.fix);
    let verdict = [
        indent(&words::sentence(&check)),
        indent(&format!("Fix: {fix}.")),
    ];
    Ok(story(
        [&as_asked, &cleared, &by_difference],
        &verdict.join("\n"),
    ))
}

fn story([as_asked, cleared, by_difference]: [&str; 3], verdict: &str) -> String {
    let last = EPOCHS - 1;
    format!(
        "\
The gradient that was 90 % off at every step size

A PyTorch user trains a linear layer ({D} features, {K} classes) on {N} samples, in
float32, for {EPOCHS} epochs:

    x.requires_grad = True
    for epoch in range({EPOCHS}):
        optimizer.zero_grad()
        y = model(x)
        y.retain_grad()
        loss = criterion(y, target)
        loss.backward()
        if epoch < {last}:
            optimizer.step()

Then they check x.grad (the input's gradient) and y.grad (the logits' gradient)
against a finite difference, (L(x + eps) - L(x - eps)) / (2 eps). A mean
relative error of 1e-2 would be good enough.

1. What the user saw

   The input's gradient is about 90 % off at every step size. The logits'
   gradient is fine, but only for large steps.

{as_asked}
2. The bug

   optimizer.zero_grad() clears the gradients of the parameters, and x is not
   one of them. So x.grad adds up the backward passes of {EPOCHS} epochs. It is about
   {EPOCHS} times too large, and its relative error is 1 - 1/{EPOCHS} = 0.9 for every eps.
   y is a new tensor in each epoch, so y.grad holds the last pass alone.

   With x.grad = None before each backward pass, both gradients are right. But
   the check still fails: the smaller the step, the larger the errors.

{cleared}
3. The noise

   In float32, a loss near 0.7 has an error of about 3e-8. The finite difference
   subtracts two losses and divides by 2 eps, so its error is about 3e-8 / eps.
   At eps = 1e-6 that is 0.03: as large as the gradient itself, whose entries
   are all below 0.1.

   gradprobe computes the same difference, still in float32, by an identity
   that does not subtract two losses. The error falls as eps², and it does not
   rise again.

{by_difference}
4. What gradprobe reports for the x.grad of part 1

{verdict}
"
    )
}

/// Wraps a paragraph of the story, indented like the others.
fn indent(text: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent("   ")
        .subsequent_indent("   ");
    textwrap::fill(text, options)
}

/// Returns a table of mean relative errors: a row for each step, a column for each gradient.
fn table(error: impl Fn(Wrt, f64) -> Result<f64>) -> Result<String> {
    let mut table = "       eps       input      logits\n".to_owned();
    for exponent in INPUT_EXPONENTS {
        let eps = 10f64.powi(-exponent);
        let step = format!("{eps:.0e}");
        table += &format!("     {step:<4}    {:>8.2e}", error(Wrt::Input, eps)?);
        if LOGITS_EXPONENTS.contains(&exponent) {
            table += &format!("    {:>8.2e}", error(Wrt::Logits, eps)?);
        }
        table += "\n";
    }
    Ok(table)
}

/// The program of the question, in f32: the trained layer and its gradients.
struct Experiment {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    target: Vec<u32>,
    /// x.grad after the last epoch, never cleared.
    accumulated: Vec<f32>,
    /// x.grad after the last epoch, had it been cleared before the last backward pass.
    input_gradient: Vec<f32>,
    /// y.grad after the last epoch.
    logits_gradient: Vec<f32>,
}

impl Experiment {
    fn run(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let input: Vec<f32> = (0..N * D).map(|_| rng.sample(StandardNormal)).collect();
        let target: Vec<u32> = (0..N).map(|_| rng.random_range(0..K as u32)).collect();
        // torch.nn.Linear draws weight and bias from this range, 1/sqrt(d).
        let reach = 1.0 / (D as f32).sqrt();
        let mut uniform = |count: usize| {
            (0..count)
                .map(|_| rng.random_range(-reach..reach))
                .collect::<Vec<f32>>()
        };
        let (weight, bias) = (uniform(K * D), uniform(K));
        let mut experiment = Self {
            input,
            weight,
            bias,
            target,
            accumulated: vec![0.0; N * D],
            input_gradient: Vec::new(),
            logits_gradient: Vec::new(),
        };
        for epoch in 0..EPOCHS {
            experiment.backward();
            if epoch < EPOCHS - 1 {
                experiment.step();
            }
        }
        experiment
    }

    fn backward(&mut self) {
        let z = logits(&self.input, &self.weight, &self.bias, D);
        let model = RoundingModel::new(Dtype::F32, K, 0.0);
        let residual = residual(&z.logits, &z.magnitude, &self.target_rows(), model, K).gradient;
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

    /// Takes a step of gradient descent.
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

    /// Returns the correct gradient.
    fn gradient(&self, wrt: Wrt) -> &[f32] {
        match wrt {
            Wrt::Input => &self.input_gradient,
            _ => &self.logits_gradient,
        }
    }

    /// Computes the finite differences of the question: two losses of the whole batch for each
    /// entry, in f32.
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

    fn check(&self, wrt: Wrt, gradient: &[f32], options: &Options) -> Result<Check> {
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

/// Returns the mean over the entries of |a - g| / max(|a|, |g|).
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
    fn the_accumulated_gradient_is_90_percent_off_and_plain_differences_trace_a_u() {
        let experiment = Experiment::run(SEED);
        for exponent in 0..=4 {
            let error = mean_rel_err(
                &experiment.accumulated,
                &experiment.plain_differences(Wrt::Input, 10f64.powi(-exponent)),
            );
            assert!((error - 0.9).abs() < 0.01, "eps 1e-{exponent}: {error}");
        }
        let errors: Vec<f64> = (1..=6)
            .map(|exponent| {
                mean_rel_err(
                    &experiment.logits_gradient,
                    &experiment.plain_differences(Wrt::Logits, 10f64.powi(-exponent)),
                )
            })
            .collect();
        // The best step is in the middle, and 100 times better than the smallest one.
        let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(best < 1e-2 * errors[5] && best < errors[0], "{errors:?}");
    }

    #[test]
    fn the_story_names_the_cause_and_fits_a_terminal() {
        let text = run().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let words = words.join(" ");
        assert!(
            words.contains("as if 10 backward passes had been summed"),
            "{text}"
        );
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{text}");
    }
}
