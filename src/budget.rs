//! Limits on the work of one call, block or strip, and their conversion to rows.
//!
//! Work is counted in multiply-adds ([`Differentiation::work`]), entries of a gradient, elements in
//! memory, or bytes. The limits keep progress bars moving and interruptions prompt, avoid driver
//! time-outs, and keep intermediate results in the cache. Each kernel sets its own tile sizes.

// Some builds use only a part of this table.
#![cfg_attr(not(all(feature = "cli", feature = "gpu")), allow(dead_code))]

use std::ops::Range;

use crate::{
    plan::Differentiation,
    problem::{Problem, Wrt},
    scheme::Method,
};

/// Number of calls submitted ahead of the one that is being compared. The device computes the next
/// call while the host compares.
pub(crate) const CALLS_AHEAD: usize = 1;

// Calls of the CPU engine.

/// Entries per call of the CPU engine: 50 ms of work on many threads. No call stores its entries.
const CPU_CALL_ENTRIES: usize = 1 << 24;
/// Elements of the input per call of the CPU engine with respect to a parameter. The engine holds
/// three f64 vectors of this size, 24 MiB.
const CPU_CALL_INPUTS: usize = 1 << 20;
/// Multiply-adds of one thread in 1/8 s, measured in 2026. `serve` switches jobs between calls.
const THREAD_WORK: usize = 1 << 29;
/// Fewest rows per thread and call: enough to amortize one pass over a large weight.
const CPU_CALL_LEAST_ROWS: usize = 16;
/// Multiply-adds of one thread in 2 s. This limit overrides [`CPU_CALL_LEAST_ROWS`].
const CPU_CALL_MOST_WORK: usize = 1 << 33;

// Calls of a GPU. A software adapter runs on the host.

/// Entries per submission to a software adapter, which shares a cache with the host.
pub(crate) const SOFTWARE_ENTRIES: usize = 1 << 20;
/// Entries per submission to a GPU: enough to outweigh the cost of the submission.
pub(crate) const GPU_ENTRIES: usize = 1 << 24;
/// Multiply-adds per submission to a software adapter: 0.5 s on two cores at 4e9 per second,
/// measured in 2026.
pub(crate) const SOFTWARE_WORK: usize = 1 << 31;
/// Multiply-adds per submission to a GPU: 0.1 s on a small one.
pub(crate) const GPU_WORK: usize = 1 << 35;
/// Bytes of all buffers of one evaluation. A software adapter uses the host's memory, and never
/// reports that it is exhausted.
pub(crate) const GPU_MEMORY: u64 = 512 << 20;
/// Columns of a dot product per dispatch. Lavapipe of Mesa 22.3 silently ends a loop after 65,535
/// iterations. An iteration takes four columns, so this is an eighth of the limit.
pub(crate) const DISPATCH_COLUMNS: usize = 32_768;
/// Terms of a sum over classes or samples per dispatch. An iteration takes one term per step, so
/// this is an eighth of lavapipe's limit.
pub(crate) const DISPATCH_TERMS: usize = 8192;

// Comparison on the host. Chosen.

/// Entries of a block: enough to make the exact sums cheap, few enough for several threads.
const BLOCK_ENTRIES: usize = 1 << 18;
/// Multiply-adds of a block: 10 ms.
const BLOCK_WORK: usize = 1 << 25;
/// Rows of a block at most.
const MOST_BLOCK_ROWS: usize = 512;
/// Fewest rows of a block by `difference`: enough to amortize one pass over a large weight. This
/// limit overrides [`BLOCK_WORK`].
const LEAST_BLOCK_ROWS: usize = 16;
/// Entries of a strip, which holds about six f64 vectors of 64 KiB each.
const STRIP_ENTRIES: usize = 1 << 13;
/// Elements of a weight that stays in a second-level cache with its tables.
const CACHED_WEIGHT: usize = 1 << 15;
/// Logits or entries of a strip if the weight is not cached. Each f64 vector then takes 8 MiB.
const MOST_STRIP_LOGITS: usize = 1 << 20;
/// Rows of the first strip of a block, if strips are that long. Measured: 4 rows cost more strips,
/// 64 more candidates (4096x1024x100, 200000x64x10).
pub(crate) const FIRST_STRIP_ROWS: usize = 16;
/// Rows of a strip at most.
const MOST_STRIP_ROWS: usize = 64;
/// Rows of a tile of the CPU's matrix products. With fewer rows, a part of the tile is unused.
pub(crate) const MATMUL_ROWS: usize = 4;
/// Entries of a gradient that are read back from a GPU rather than compared on it, at most: about
/// 10 ms of work for the host. Chosen.
pub(crate) const HOST_COMPARED_ENTRIES: usize = 1 << 22;
/// Entries of the numeric gradient that are buffered at a time for a listener: 8 MiB, and about
/// twice that while they are assembled.
pub(crate) const HELD_ENTRIES: usize = 1 << 20;

// Diagnosis.

/// Multiply-adds of one product over the rows that a diagnosis examines: a few milliseconds.
const DIAGNOSIS_WORK: usize = 1 << 22;
/// Entries that a diagnosis examines.
const DIAGNOSIS_ENTRIES: usize = 1 << 15;
/// Samples whose softmax is compared with each other, at most: 2,016 pairs.
const COMPARED_SAMPLES: usize = 64;
/// Multiply-adds of that comparison: about 10 ms.
const COMPARED_WORK: usize = 1 << 24;
/// Fewest samples of it, however long they are.
const LEAST_COMPARED: usize = 8;
/// Fewest rows that a diagnosis examines, however long they are.
const DIAGNOSIS_LEAST_ROWS: usize = 4;
/// Multiply-adds of a first look at a draw of the samples: about 10 ms.
const FIRST_LOOK_WORK: usize = 1 << 24;
/// Multiply-adds of one pass over all samples, above which a diagnosis of a parameter considers
/// only a few causes. A full diagnosis takes dozens of passes.
const PARAMETER_DIAGNOSIS_WORK: usize = 1 << 27;
/// Multiply-adds of a comparison of two gradients with each other: about 10 ms.
const RELATED_WORK: usize = 1 << 24;
/// Multiply-adds per row, above which two gradients are not compared with each other: about 0.1 s.
const RELATED_ROW_WORK: usize = 1 << 27;
/// Most rows of the smallest failing case. A larger case is not worth a file of its own.
pub(crate) const SMALLEST_ROWS: usize = 4096;

// Sweeps over the step.

/// Multiply-adds per step of a sweep: about 1 s on two cores.
pub const SWEEP_WORK: usize = 1 << 29;
/// Multiply-adds per step of a sweep that takes no noticeable time.
pub(crate) const GLANCE_WORK: usize = 1 << 22;
/// Multiply-adds per row, above which a glance is skipped.
pub(crate) const GLANCE_ROW_WORK: usize = 1 << 25;

/// Returns the number of rows whose evaluation takes about `work` multiply-adds, from 1 to n.
pub(crate) fn rows(problem: &Problem, derivative: Differentiation, work: usize) -> usize {
    (work / derivative.work(problem)).clamp(1, problem.n())
}

/// Returns the number of threads that a call of the CPU engine is sized for.
///
/// The last bits of a parameter's gradient depend on the number of samples per call, so that number
/// must not depend on the machine.
fn threads(derivative: Differentiation) -> usize {
    if derivative.wrt.is_parameter() {
        2
    } else {
        rayon::current_num_threads()
    }
}

/// Returns the largest number of rows per call of the CPU engine.
pub(crate) fn cpu_call_rows(problem: &Problem, derivative: Differentiation) -> usize {
    let entries = if derivative.wrt.is_parameter() {
        CPU_CALL_INPUTS
    } else {
        CPU_CALL_ENTRIES
    };
    let threads = threads(derivative);
    let least = match derivative.method {
        Method::Difference => threads * CPU_CALL_LEAST_ROWS,
        Method::ForwardPass => 1,
    };
    let most = rows(problem, derivative, threads * CPU_CALL_MOST_WORK);
    (entries / problem.columns(derivative.wrt))
        .min(rows(problem, derivative, threads * THREAD_WORK))
        .max(least)
        .clamp(1, most)
}

/// Returns the number of parts into which the CPU engine splits a row that is too slow for one
/// call. Each part takes one thread 1/8 s. Returns `None` if the row is fast enough.
pub(crate) fn cpu_row_parts(problem: &Problem, derivative: Differentiation) -> Option<usize> {
    let work = derivative.work(problem);
    let is_slow = work > threads(derivative) * THREAD_WORK;
    let splits = derivative.method == Method::ForwardPass && is_slow;
    splits.then(|| work.div_ceil(THREAD_WORK))
}

/// Returns the number of rows per block. The column sums of a block are added to the total as one
/// term. Blocks begin at multiples of this number.
pub(crate) fn block_rows(problem: &Problem, derivative: Differentiation) -> usize {
    let by_entries = BLOCK_ENTRIES / problem.columns(derivative.wrt);
    let by_work = rows(problem, derivative, BLOCK_WORK);
    let (by_work, least) = match derivative.method {
        // The rows of a parameter are classes, and are evaluated already.
        _ if derivative.wrt.is_parameter() => (MOST_BLOCK_ROWS, MATMUL_ROWS),
        Method::Difference => (by_work.max(LEAST_BLOCK_ROWS), MATMUL_ROWS),
        Method::ForwardPass => (by_work, 1),
    };
    by_entries.min(by_work).clamp(least, MOST_BLOCK_ROWS)
}

/// Returns the number of rows per strip. The rows of a strip are evaluated and compared together,
/// so that they stay in the cache. If the weight does not fit in the cache, the strip has enough
/// rows to amortize one pass over the weight.
pub(crate) fn strip_rows(problem: &Problem, wrt: Wrt) -> usize {
    let (k, d) = (problem.k(), problem.d());
    let rows = if k * d > CACHED_WEIGHT {
        MOST_STRIP_LOGITS / k.max(d)
    } else {
        STRIP_ENTRIES / problem.columns(wrt)
    };
    rows.clamp(MATMUL_ROWS, MOST_STRIP_ROWS)
        .next_multiple_of(MATMUL_ROWS)
}

/// Returns the number of rows of a gradient that a diagnosis examines.
pub(crate) fn diagnosed_rows(problem: &Problem, wrt: Wrt) -> usize {
    let (d, k) = (problem.d(), problem.k());
    let rows = if wrt.is_parameter() {
        DIAGNOSIS_ENTRIES / problem.columns(wrt)
    } else {
        (DIAGNOSIS_WORK / (k * d.max(1))).min(DIAGNOSIS_ENTRIES / d.max(k))
    };
    rows.max(DIAGNOSIS_LEAST_ROWS).min(problem.rows(wrt))
}

/// Returns the number of samples whose softmax is compared with each other.
pub(crate) fn compared_samples(problem: &Problem) -> usize {
    (COMPARED_WORK / (problem.k() * problem.d().max(1)))
        .clamp(LEAST_COMPARED, COMPARED_SAMPLES)
        .min(problem.n())
}

/// Returns the number of samples that a first look covers.
pub(crate) fn first_look_samples(problem: &Problem) -> usize {
    let samples = FIRST_LOOK_WORK / (problem.k() * problem.d().max(1));
    samples.max(DIAGNOSIS_LEAST_ROWS).min(problem.n())
}

/// Returns true if a diagnosis can afford passes over all samples.
pub(crate) fn is_diagnosed_in_full(problem: &Problem, wrt: Wrt) -> bool {
    // In floating point, because a product of unchecked sizes may overflow an integer.
    let work = problem.n() as f64 * problem.d() as f64 * problem.k() as f64;
    !wrt.is_parameter() || work <= PARAMETER_DIAGNOSIS_WORK as f64
}

/// Returns the number of rows of a gradient that are compared with those of the logits' gradient.
/// Returns `None` if a single row takes too long.
pub(crate) fn related_rows(problem: &Problem, wrt: Wrt) -> Option<usize> {
    let of_row = match wrt {
        Wrt::Input | Wrt::Logits => problem.k().saturating_mul(problem.d()),
        // One pass over the samples reads all logits' gradients.
        Wrt::Weight | Wrt::Bias => {
            let read = problem.k().saturating_add(problem.columns(wrt));
            problem.n().saturating_mul(read)
        }
    };
    affordable_rows(of_row, problem.rows(wrt))
}

/// Returns true if an orthonormal basis of the rows of the weight takes as little time as a
/// comparison of two gradients.
pub(crate) fn is_span_affordable(problem: &Problem) -> bool {
    let (k, d) = (problem.k() as f64, problem.d() as f64);
    k * k * d <= RELATED_WORK as f64
}

/// Returns the number of `rows` that two gradients are compared in, if one takes `work`
/// multiply-adds.
fn affordable_rows(work: usize, rows: usize) -> Option<usize> {
    let affordable = (RELATED_WORK / work.max(1)).clamp(1, rows);
    (work <= RELATED_ROW_WORK).then_some(affordable)
}

/// Splits n rows into calls of at most `rows_per_call` rows. If a block of `block` rows fits in a
/// call, each call holds whole blocks only.
pub(crate) fn calls(
    n: usize,
    rows_per_call: usize,
    block: usize,
) -> impl Iterator<Item = Range<usize>> {
    let in_blocks = rows_per_call / block * block;
    let rows_per_call = match in_blocks {
        // A second call for the remainder would wait for the first, and then use one thread.
        _ if rows_per_call >= n => n,
        0 => rows_per_call,
        in_blocks => in_blocks,
    };
    (0..n)
        .step_by(rows_per_call)
        .map(move |start| start..n.min(start + rows_per_call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_compared_in_as_many_rows_as_are_cheap() {
        assert_eq!(affordable_rows(100, 60), Some(60));
        assert_eq!(affordable_rows(RELATED_WORK / 8, 60), Some(8));
        assert_eq!(affordable_rows(RELATED_ROW_WORK, 60), Some(1));
        assert_eq!(affordable_rows(RELATED_ROW_WORK + 1, 60), None);
    }

    #[test]
    fn calls_hold_whole_blocks_if_one_fits() {
        let all = |n, rows_per_call, block| calls(n, rows_per_call, block).collect::<Vec<_>>();
        assert_eq!(all(10, 7, 3), [0..6, 6..10]);
        assert_eq!(all(10, 2, 3), [0..2, 2..4, 4..6, 6..8, 8..10]);
        assert_eq!(all(10, 16, 3).first(), Some(&(0..10)));
    }
}
