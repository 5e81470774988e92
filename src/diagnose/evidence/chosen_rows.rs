//! Choice of the rows and samples that a diagnosis examines, within its budget.

use std::ops::Range;

use super::Evidence;
use crate::{
    budget,
    problem::{Problem, Wrt},
    report::Comparison,
};

/// The golden ratio minus 1.
const GOLDEN: f64 = 0.618_033_988_749_895;

impl Evidence<'_> {
    /// Returns true if predictions under other causes take no longer than the check did.
    pub(in crate::diagnose) fn is_affordable(&self) -> bool {
        budget::is_diagnosed_in_full(self.problem, self.wrt)
    }

    /// Returns all samples or, for a first look, a draw that takes milliseconds.
    pub(in crate::diagnose) fn samples(&self, first_look: bool) -> Vec<usize> {
        let n = self.problem.n();
        let most = budget::first_look_samples(self.problem);
        if first_look && most < n {
            scattered(0..most, n).collect()
        } else {
            (0..n).collect()
        }
    }

    /// Returns true if a first look takes all samples.
    pub(in crate::diagnose) fn draws_are_all(&self) -> bool {
        self.samples(true).len() == self.problem.n()
    }
}

/// Returns the rows of a gradient to examine, in order.
pub(super) fn rows(problem: &Problem, check: &Comparison) -> Vec<usize> {
    if check.wrt.is_parameter() {
        classes(problem, check.wrt)
    } else {
        rows_of_samples(problem, check)
    }
}

/// Returns the rows of a parameter's gradient to examine: classes, or a draw of them.
fn classes(problem: &Problem, wrt: Wrt) -> Vec<usize> {
    let k = problem.k();
    let most = budget::diagnosed_rows(problem, wrt);
    if most == k {
        return (0..k).collect();
    }
    sorted(scattered(0..most, k).collect())
}

/// Returns the samples whose rows to examine: all, or a draw. About half of the rows in a draw are
/// wrong, if the gradient has that many wrong rows.
fn rows_of_samples(problem: &Problem, check: &Comparison) -> Vec<usize> {
    let n = problem.n();
    let most = budget::diagnosed_rows(problem, check.wrt);
    if most == n {
        return (0..n).collect();
    }
    let wrong: Vec<usize> = check.tally.places.rows.iter().collect();
    let drawn = most / 2;
    // A rare and gross error, such as NaN, is among the worst entries.
    let kept = &check.tally.kept;
    let kept = kept.worst.iter().chain(&kept.wrong);
    let mut rows: Vec<usize> = kept.map(|entry| entry.index[0]).collect();
    if wrong.len() <= drawn {
        rows.extend(wrong)
    } else {
        rows.extend(scattered(0..drawn, wrong.len()).map(|i| wrong[i]))
    }
    rows.extend(scattered(rows.len()..most.max(rows.len()), n));
    sorted(rows)
}

/// Sorts, and drops duplicates.
fn sorted(mut rows: Vec<usize>) -> Vec<usize> {
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Returns the terms `draws` of a sequence in `0..of` that fills the range evenly. The terms are
/// fractional parts of multiples of the golden ratio, because evenly spaced terms could coincide
/// with a period in the rows, or miss it.
fn scattered(draws: Range<usize>, of: usize) -> impl Iterator<Item = usize> {
    draws.map(move |i| ((i as f64 * GOLDEN).fract() * of as f64) as usize)
}
