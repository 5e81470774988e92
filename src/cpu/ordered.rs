//! Sums over samples that run in parallel and still have the same bits on every machine.

use std::ops::Range;

use rayon::prelude::*;

/// Number of parts that a range is split into. Chosen: it must not depend on the number of threads,
/// and eight parts keep eight threads busy.
pub(crate) const PARTS: usize = 8;

/// Splits `range` into at most [`PARTS`] parts of at least `shortest` elements, evaluates the parts
/// in parallel, and folds the results into `sum` in the order of the parts.
///
/// 1. Addition of floats is not associative: the order of the additions decides the last bits.
/// 2. The parts depend on the range alone, and their sums are added in order. The number of threads
///    therefore changes the speed, but no bit of the sum.
/// 3. Each round evaluates one part per thread. With few threads, the results of all parts are
///    never in memory at once.
pub(crate) fn fold_parts<P: Send, S>(
    range: Range<usize>,
    shortest: usize,
    part: impl Fn(Range<usize>) -> P + Sync,
    sum: S,
    add: impl Fn(S, P) -> S,
) -> S {
    let length = range.len().div_ceil(PARTS).max(shortest);
    fold_parts_of(range, length, part, sum, add)
}

/// Does the same with parts of `length` elements.
pub(crate) fn fold_parts_of<P: Send, S>(
    range: Range<usize>,
    length: usize,
    part: impl Fn(Range<usize>) -> P + Sync,
    mut sum: S,
    add: impl Fn(S, P) -> S,
) -> S {
    let length = length.max(1);
    let starts: Vec<usize> = range.clone().step_by(length).collect();
    for starts in starts.chunks(rayon::current_num_threads()) {
        let parts = starts.par_iter();
        let parts = parts.map(|&start| part(start..range.end.min(start + length)));
        sum = parts.collect::<Vec<P>>().into_iter().fold(sum, &add);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_cover_the_range() {
        let parts = |range, shortest| {
            let append = |mut parts: Vec<Range<usize>>, part| {
                parts.push(part);
                parts
            };
            fold_parts(range, shortest, |part| part, Vec::new(), append)
        };
        assert_eq!(parts(3..12, 1), [3..5, 5..7, 7..9, 9..11, 11..12]);
        assert_eq!(parts(0..10, 4), [0..4, 4..8, 8..10]);
        assert!(parts(5..5, 1).is_empty());
    }
}
