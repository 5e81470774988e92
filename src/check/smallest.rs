//! The smallest case that still shows what is wrong: a few rows of a problem, with the same verdict and the same first finding.

use super::{CompareOn, Options, Subject, check};
use crate::{
    device::Device,
    error::Result,
    problem::Problem,
    report::{CheckReport, Verdict},
};

/// Rows that are worth a file of their own, at most.
const MOST_ROWS: usize = 4096;

/// A problem of a few rows, of a loss over those alone, and their part of the gradient.
pub struct Smallest {
    /// The problem.
    pub problem: Problem,
    /// The gradient.
    pub subject: Subject,
}

/// Looks for it among 1, 2, 4 and so many rows, half of them wrong where others are right; none where no such part of the whole shows the same,
/// for a parameter, or where only some rows were checked.
///
/// # Errors
/// Those of [`check`](super::check).
pub fn smallest(
    problem: &Problem,
    subject: &Subject,
    report: &CheckReport,
    options: &Options,
    device: &Device,
) -> Result<Option<Smallest>> {
    let Some(gradient) = subject
        .gradient
        .as_ref()
        .filter(|_| !subject.wrt.is_parameter() && report.coverage.is_whole())
    else {
        return Ok(None);
    };
    let options = Options {
        compare: CompareOn::Host,
        draws: false,
        ..options.clone()
    };
    let n = problem.n();
    let wrong: Vec<usize> = report.tally.places.rows.iter().collect();
    let mut is_wrong = vec![false; n];
    wrong.iter().for_each(|&row| is_wrong[row] = true);
    let right: Vec<usize> = (0..n).filter(|&row| !is_wrong[row]).collect();
    let code = |report: &CheckReport| report.findings.first().map(|finding| finding.code);
    let sizes = std::iter::successors(Some(1), |size| Some(2 * size));
    for size in sizes.take_while(|&size| size < n && size <= MOST_ROWS) {
        let of_right = (size / 2)
            .min(right.len())
            .max(size.saturating_sub(wrong.len()));
        let mut rows = spread(&right, of_right);
        rows.extend(spread(&wrong, size - of_right.min(size)));
        rows.sort_unstable();
        // Rows that are all ignored make no mean.
        let Ok(part) = problem.of_rows(&rows) else {
            continue;
        };
        let subject = Subject {
            wrt: subject.wrt,
            gradient: Some(
                gradient
                    .gather(&rows)
                    .scaled(problem.normalizer() / part.normalizer()),
            ),
        };
        let found = check(
            &part,
            std::slice::from_ref(&subject),
            &options,
            device,
            &mut (),
        )?;
        if found.verdict() == Verdict::Fail && code(&found.checks[0]) == code(report) {
            return Ok(Some(Smallest {
                problem: part,
                subject,
            }));
        }
    }
    Ok(None)
}

/// So many of the rows, or all there are, evenly spread.
fn spread(rows: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(rows.len());
    (0..count).map(|i| rows[i * rows.len() / count]).collect()
}
