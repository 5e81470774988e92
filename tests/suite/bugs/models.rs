//! Bugs that compute another loss or use other parameters.

use std::rc::Rc;

use gradprobe::problem::Wrt;
use rand::RngExt;

use super::{
    losses::{
        by_hand, cross_entropy_at, cross_entropy_of_softmax, cross_entropy_over_batch, nothing,
        sigmoid, softmax, softmax_over_batch,
    },
    numbers::{Rng, argmax, digits, log_uniform, normal, pick, rms, transposed},
    program::{Backward, Program},
    work::Work,
};

pub(crate) fn with_backward(work: &mut Work, rng: &mut Rng, backward: Backward) -> Option<()> {
    work.plain(rng);
    work.program().backward = backward;
    Some(())
}

pub(crate) fn one_hot_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(softmax, false, true))
}

pub(crate) fn softmax_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(nothing, true, true))
}

pub(crate) fn sigmoid_instead(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, by_hand(sigmoid, true, true))
}

pub(crate) fn softmax_twice(work: &mut Work, rng: &mut Rng) -> Option<()> {
    with_backward(work, rng, Rc::new(cross_entropy_of_softmax))
}

pub(crate) fn over_batch(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

pub(crate) fn bias_missing(work: &mut Work, _: &mut Rng) -> Option<()> {
    let bias = work.file.bias.as_ref()?;
    let mean = bias.iter().sum::<f64>() / bias.len() as f64;
    let centred: Vec<f64> = bias.iter().map(|b| b - mean).collect();
    work.program().bias = None;
    (rms(&centred) > 0.2).then_some(())
}

/// Divides the logits by a temperature at which the softmax is not one-hot in a third of the rows:
/// only those rows show the temperature.
pub(crate) fn temperature(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Multiplies by another matrix in the backward pass alone. With fewer samples than classes this
/// bug could not be distinguished from others.
pub(crate) fn weight_wrong(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Takes an optimizer step between the backward pass and the saving of the weights.
pub(crate) fn stale_weights(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let rate = log_uniform(rng, 1e-3, 0.1);
    work.note(format_args!("a step at a rate of {rate:.1e}"));
    work.gradient();
    let gradient = |wrt| work.program.gradient(wrt);
    let (weight, bias) = (gradient(Wrt::Weight), gradient(Wrt::Bias));
    work.file.step(rate, &weight, &bias);
    work.file.is_mean().then_some(())
}

pub(crate) fn penalty_missing(work: &mut Work, rng: &mut Rng) -> Option<()> {
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
