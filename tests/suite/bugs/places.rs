//! Bugs that lose rows or move entries to other places.

use rand::RngExt;

use super::{
    numbers::{Rng, log_uniform, shuffled, transposed},
    work::Work,
};

pub(crate) fn all_zero(work: &mut Work, _: &mut Rng) -> Option<()> {
    work.map(|_, _| 0.0);
    Some(())
}

/// Sets the last rows, or any rows, to zero.
pub(crate) fn rows_zero(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Reorders three or more rows. With two classes, one row is minus the other.
pub(crate) fn rows_permuted(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

pub(crate) fn columns_permuted(work: &mut Work, rng: &mut Rng) -> Option<()> {
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

/// Writes the buffer in column-major order, to be read in row-major order.
pub(crate) fn transposed_buffer(work: &mut Work, _: &mut Rng) -> Option<()> {
    let columns = work.columns();
    *work.gradient() = transposed(work.gradient(), columns);
    Some(())
}

/// Returns the gradient with respect to the input before its standardization.
pub(crate) fn input_scaling_missed(work: &mut Work, rng: &mut Rng) -> Option<()> {
    let d = work.columns();
    let deviations: Vec<f64> = (0..d).map(|_| log_uniform(rng, 0.1, 10.0)).collect();
    work.map(|e, g| g / deviations[e % d]);
    Some(())
}
