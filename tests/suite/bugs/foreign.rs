//! Bugs that no rule covers.

use std::rc::Rc;

use rand::RngExt;

use super::{
    losses::{focal, hinge, square},
    models::with_backward,
    numbers::{Rng, gauss, log_uniform, pick, rms, shuffled},
    program::Program,
    work::{Bug, Work},
};

pub(crate) const FOREIGN: [Bug; 10] = [
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

/// Admits draws with a plain mean and enough samples, features and classes for a pattern to show.
pub(crate) fn room(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Draws a label with at least two rows, and returns the rows, which the bug touches.
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

/// Swaps the halves of half of the rows. In all rows this would be a permutation of the columns.
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
