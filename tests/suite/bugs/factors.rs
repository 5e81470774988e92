//! Bugs that multiply the whole gradient by one factor, and passes that accumulate.

use gradprobe::{loss::Reduction, problem::Wrt, tensor::Dtype};
use rand::RngExt;

use super::{
    fit::{Fit, MOST_CALLS, coincidences},
    numbers::{Rng, log_uniform, norm, pick},
    program::{MOST_WORK, Program},
    targets::{ignore, weigh},
    work::Work,
};

const WORKERS: [f64; 5] = [2.0, 3.0, 4.0, 8.0, 16.0];

pub(crate) fn accumulated(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let calls = rng.random_range(2..=MOST_CALLS);
    if rng.random_bool(0.5) {
        accumulate(work, calls)
    } else {
        accumulate_moving(work, rng, calls)
    }
}

pub(crate) fn accumulate(work: &mut Work, calls: u32) -> Option<()> {
    let arithmetic = work.program.arithmetic;
    work.note(format_args!("{calls} calls with the same weights"));
    work.map(|_, g| (1..calls).fold(g, |sum, _| arithmetic.round(sum + g)));
    Some(())
}

/// Finds a rate at which the movement of the weights is visible, but small enough that the gradient
/// stays similar.
fn accumulate_moving(work: &mut Work, rng: &mut Rng, calls: u32) -> Option<()> {
    let (n, d, k) = work.file.shape;
    if n * d * k * calls as usize > MOST_WORK {
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
            work.ran(file, sum);
            return Some(());
        }
    }
    None
}

/// Runs backward passes into a buffer that is never cleared, with a step of gradient descent after
/// each but the last. If the buffer is a parameter's, the optimizer steps along it.
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

pub(crate) fn sum_instead_of_mean(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    work.program().loss.reduction = Reduction::Sum;
    Some(())
}

pub(crate) fn mean_instead_of_sum(work: &mut Work, _: &mut Rng) -> Option<()> {
    (!work.file.is_mean()).then_some(())?;
    work.program().loss.reduction = Reduction::Mean;
    Some(())
}

pub(crate) fn divided_by_classes(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    let entries = work.program.problem().normalizer() * work.file.shape.2 as f64;
    work.program().divisor = Some(entries);
    Some(())
}

pub(crate) fn divided_by_all_rows(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    ignore(work, rng);
    work.program().divisor = Some(work.file.shape.0 as f64);
    Some(())
}

pub(crate) fn divided_by_count(work: &mut Work, rng: &mut Rng) -> Option<()> {
    work.file.is_mean().then_some(())?;
    weigh(work, rng)?;
    work.program().divisor = Some(work.file.shape.0 as f64);
    Some(())
}

pub(crate) fn sign_flipped(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.map(|_, g| -g);
    Some(())
}

pub(crate) fn loss_scaled(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let factor = 2f64.powi(rng.random_range(8..=24));
    work.note(format_args!("times {factor}"));
    work.program().factor = factor;
    Some(())
}

pub(crate) fn averaged_over_workers(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Clips as torch.nn.utils.clip_grad_norm_ does.
pub(crate) fn norm_clipped(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Multiplies by a factor that no other bug has.
pub(crate) fn scaled(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let factor = pick(rng, &[0.0123, 0.085, 0.37, 0.9, 1.7, 2.72, 5.44, 137.3]);
    work.note(format_args!("times {factor}"));
    work.map(|_, g| factor * g);
    let a = work.gradient().clone();
    coincidences(&work.file, &a, factor, 0.01)
        .is_empty()
        .then_some(())
}
