//! Splits long sums into tiles, one dispatch each.

use std::ops::Range;

use crate::budget::DISPATCH_TERMS;

/// Returns the number of classes or samples that one dispatch adds for a scheme of `steps` steps.
pub(super) fn terms(steps: usize) -> usize {
    DISPATCH_TERMS / steps
}

/// Splits a range into tiles: the begin and the end of each.
pub(super) fn tiles(range: Range<usize>, length: usize) -> impl Iterator<Item = [u32; 2]> {
    let end = range.end;
    range
        .step_by(length)
        .map(move |begin| [begin, end.min(begin + length)].map(|term| term as u32))
}
