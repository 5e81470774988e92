//! What a check takes in memory beside its tensors, about, before any of it is taken: who checks for others has to know.

use super::{
    Options, Subject,
    compare::{block_rows, part_rows},
};
use crate::{
    cpu::{self, matmul::TILE, ordered::PARTS},
    diagnose::MOST_PARAMETER_WORK,
    plan::{Plan, RoundingModel},
    problem::{Problem, Wrt},
    report::COLUMN_SUMS,
    scheme::{Method, Precision},
    tensor::Dtype,
};

// All were found by measuring peaks, and rounded up: tests/memory.rs holds them to that.

/// Elements for each sample, feature and class.
const OF_EACH: usize = 32;
/// Vectors along the classes and along the columns that a thread has for each row that it evaluates.
const ALONG_CLASSES: usize = 22;
const ALONG_COLUMNS: usize = 10;
/// Vectors along both for each row that a diagnosis looks at, and those rows where they are long.
const DIAGNOSED: usize = 32;
const DIAGNOSED_ROWS: usize = 16;
/// Vectors as long as a parameter in each part of its sum, and in a diagnosis.
const OF_A_PART: usize = 3;
const OF_A_DIAGNOSIS: usize = 12;

/// The bytes that a check of these gradients takes at most, about, on the CPU engine; a GPU takes less of the host.
pub fn memory(problem: &Problem, subjects: &[Subject], options: &Options) -> u64 {
    let of = |subject: &Subject| elements(problem, subject.wrt, options);
    // One gradient comes after the other.
    let most = subjects.iter().map(of).fold(0.0, f64::max);
    (most * size_of::<f64>() as f64) as u64
}

/// How many numbers in f64 that are. In floating point: products of sizes that nobody has looked at may be beyond any integer.
fn elements(problem: &Problem, wrt: Wrt, options: &Options) -> f64 {
    let plan = Plan {
        wrt,
        method: options.method,
        scheme: options.scheme,
        eps: 1.0,
        precision: Precision::F64,
        law: RoundingModel::new(Dtype::F64, 1),
    };
    let rows = cpu::rows_per_call(problem, &plan).min(problem.n());
    let (parts, rows_of_part) = if wrt.is_parameter() {
        (PARTS.min(rows), rows.div_ceil(PARTS))
    } else {
        (
            rows.div_ceil(block_rows(problem, &plan)),
            part_rows(problem, wrt).min(rows),
        )
    };
    let threads = parts.min(rayon::current_num_threads()) as f64;
    let [n, d, k, m, parts, rows_of_part] = [
        problem.n(),
        problem.d(),
        problem.k(),
        problem.columns(wrt),
        parts,
        rows_of_part,
    ]
    .map(|size| size as f64);
    let packed = k * problem.d().next_multiple_of(TILE) as f64;

    let tables = match (options.method, wrt) {
        (Method::Difference, Wrt::Input) => plan.steps().count() as f64 * packed,
        _ => 0.0,
    };
    let rows = DIAGNOSED_ROWS.min(problem.n()) as f64;
    // As it is, packed, and twice more in a diagnosis.
    let weight = packed + 3.0 * k * d;
    let vectors =
        threads * rows_of_part * (ALONG_CLASSES as f64 * k + ALONG_COLUMNS as f64 * d.max(m));
    let copies = match (options.method, wrt) {
        (Method::ForwardPass, Wrt::Input) => threads * m * (2.0 * d + 3.0 * k),
        (Method::ForwardPass, Wrt::Logits) => threads * m * 4.0 * k,
        _ => 0.0,
    };
    let sums = if wrt.is_parameter() {
        let is_diagnosed = n * d * k <= MOST_PARAMETER_WORK as f64;
        let diagnosis = if is_diagnosed { OF_A_DIAGNOSIS } else { 0 };
        (OF_A_PART as f64 * (threads + 1.0)).max(diagnosis as f64) * k * m
    } else {
        parts * COLUMN_SUMS as f64 * m
    };
    OF_EACH as f64 * (n + d + k)
        + weight
        + tables
        + vectors
        + copies
        + sums
        + DIAGNOSED as f64 * rows * (k + m)
}
