//! Bugs that change entries one by one.

use gradprobe::{report::Code, tensor::Dtype};
use half::bf16;
use rand::RngExt;

use super::{
    numbers::{Rng, digits, gauss, log_uniform, pick, rms},
    work::Work,
};
use crate::framework::round;

pub(crate) fn value_clipped(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Computes everything in half precision, or in f32 and stores the result in half precision.
pub(crate) fn half_precision(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let half = pick(rng, &[Dtype::F16, Dtype::BF16]);
    if rng.random_bool(0.5) {
        work.note(format_args!("computed in {half}"));
        work.program().cast(half);
    } else {
        work.note(format_args!("stored in {half}"));
        work.program().cast(Dtype::F32);
    }
    work.map(|_, g| round(half, g));
    // f16 has no numbers below 2^-24, so a small gradient becomes mostly zeros.
    let zeros = |values: &[f64]| values.iter().filter(|g| **g == 0.0).count();
    let (left, all) = (zeros(work.gradient()), work.gradient().len());
    (left < all / 2).then_some(())
}

/// Rounds to TF32, which keeps 10 of f32's 23 explicit bits, to nearest even.
fn tf32(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    let rounded = bits.wrapping_add(0xfff + (bits >> 13 & 1)) & !0x1fff;
    f64::from(f32::from_bits(rounded))
}

pub(crate) fn reduced_precision(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

pub(crate) fn dropout_on(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Adds noise. In f32, noise of about the size that reduced precision causes cannot be
/// distinguished from it.
pub(crate) fn noisy(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let share = log_uniform(rng, 1e-3, 0.1);
    let deviation = share * rms(work.gradient());
    work.note(format_args!("noise of {share:.1e}"));
    work.map(|_, g| g + deviation * gauss(rng));
    if work.dtype() == Dtype::F32 && share < 6e-3 {
        work.also.push(Code::ReducedPrecisionMatmul);
    }
    Some(())
}

pub(crate) fn not_finite(work: &mut Work, rng: &mut Rng) -> Option<()> {
    for _ in 0..rng.random_range(1..=3) {
        let entry = rng.random_range(0..work.gradient().len());
        let value = pick(rng, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        work.note(format_args!("{value} at {entry}"));
        work.gradient()[entry] = value;
    }
    Some(())
}
