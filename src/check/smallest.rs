//! The smallest failing case: a few rows of a problem with the same verdict and the same first
//! finding.

use super::{CompareOn, Options, Subject, check};
use crate::{
    budget,
    device::Device,
    error::Result,
    problem::Problem,
    report::{Check, Verdict},
};

/// A few rows of a problem, and their part of the gradient. The loss is taken over these rows
/// alone.
pub struct Smallest {
    /// The problem.
    pub problem: Problem,
    /// The gradient.
    pub subject: Subject,
}

/// Finds a few rows that reproduce the verdict and the first finding of the `failed` check. Tries
/// 1, 2, 4, … rows, half of them wrong and half right if there are enough of both.
///
/// Returns `None` if no such subset reproduces them, if the gradient is that of a parameter, or if
/// not all rows were checked.
///
/// # Errors
/// Those of [`check`](super::check).
pub fn smallest(
    problem: &Problem,
    subject: &Subject,
    failed: &Check,
    options: &Options,
    device: &Device,
) -> Result<Option<Smallest>> {
    let (Some(gradient), Some(comparison)) = (&subject.gradient, &failed.comparison) else {
        return Ok(None);
    };
    if subject.wrt.is_parameter() || !comparison.coverage.is_whole() {
        return Ok(None);
    }
    let options = Options {
        compare: CompareOn::Host,
        picture: false,
        ..options.clone()
    };
    let n = problem.n();
    let wrong: Vec<usize> = comparison.tally.places.rows.iter().collect();
    let mut is_wrong = vec![false; n];
    wrong.iter().for_each(|&row| is_wrong[row] = true);
    let right: Vec<usize> = (0..n).filter(|&row| !is_wrong[row]).collect();
    let code = |check: &Check| check.findings.first().map(|finding| finding.code);
    let sizes = std::iter::successors(Some(1), |size| Some(2 * size));
    for size in sizes.take_while(|&size| size < n && size <= budget::SMALLEST_ROWS) {
        let rows = mixed(&wrong, &right, size);
        // The mean over ignored rows alone is undefined.
        let Ok(part) = problem.of_rows(&rows) else {
            continue;
        };
        let scale = problem.normalizer() / part.normalizer();
        let subject = Subject {
            wrt: subject.wrt,
            gradient: Some(gradient.gather(&rows).scaled(scale)),
        };
        let subjects = std::slice::from_ref(&subject);
        let found = check(&part, subjects, &options, device, &mut ())?;
        if found.verdict == Verdict::Fail && code(&found.checks[0]) == code(failed) {
            return Ok(Some(Smallest {
                problem: part,
                subject,
            }));
        }
    }
    Ok(None)
}

/// Returns `size` rows in ascending order: half of them right and half wrong, unless there are too
/// few of one kind.
fn mixed(wrong: &[usize], right: &[usize], size: usize) -> Vec<usize> {
    let of_right = (size / 2)
        .min(right.len())
        .max(size.saturating_sub(wrong.len()));
    let mut rows = evenly_spaced(right, of_right);
    rows.extend(evenly_spaced(wrong, size - of_right.min(size)));
    rows.sort_unstable();
    rows
}

/// Returns `count` of the rows, or all if there are fewer, evenly spaced.
fn evenly_spaced(rows: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(rows.len());
    (0..count).map(|i| rows[i * rows.len() / count]).collect()
}
