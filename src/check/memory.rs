//! Estimates the memory that a check needs beside its tensors, before the check runs. `serve` uses
//! the estimate to admit or refuse a job.
//!
//! The coefficients are measured peaks, rounded up. tests/serve/memory.rs verifies that they cover
//! the peaks.

use super::{Options, Subject};
use crate::{
    budget,
    cpu::{matmul::TILE, ordered::PARTS},
    problem::{Problem, Wrt},
    report::ColumnSums,
    scheme::Method,
};

/// Elements per sample, feature and class.
const PER_SIZE: usize = 32;
/// Vectors along the classes, per thread and row that it evaluates.
const ALONG_CLASSES: usize = 22;
/// Vectors along the columns, per thread and row that it evaluates.
const ALONG_COLUMNS: usize = 10;
/// Vectors along classes and columns, per row that a diagnosis examines.
const PER_DIAGNOSED_ROW: usize = 32;
/// Rows that a diagnosis examines if they are long.
const DIAGNOSED_ROWS: usize = 16;
/// Vectors as long as a parameter, per part of its sum.
const PER_PART: usize = 5;
/// Vectors as long as a parameter in a diagnosis.
const IN_A_DIAGNOSIS: usize = 12;

/// Returns the approximate peak memory of a check on the CPU engine, in bytes. A check on a GPU
/// needs less of the host's memory.
pub fn memory(problem: &Problem, subjects: &[Subject], options: &Options) -> u64 {
    let of = |subject: &Subject| elements(problem, subject.wrt, options);
    // Gradients are checked one after the other.
    let most = subjects.iter().map(of).fold(0.0, f64::max);
    (most * size_of::<f64>() as f64) as u64
}

/// Returns the number of f64 elements in memory. Computes in floating point, because a product of
/// unchecked sizes may overflow an integer.
fn elements(problem: &Problem, wrt: Wrt, options: &Options) -> f64 {
    let derivative = options.derivative(wrt);
    let rows = budget::cpu_call_rows(problem, derivative).min(problem.n());
    let (parts, rows_of_part) = if wrt.is_parameter() {
        (PARTS.min(rows), rows.div_ceil(PARTS))
    } else {
        (
            rows.div_ceil(budget::block_rows(problem, derivative)),
            budget::strip_rows(problem, wrt).min(rows),
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
        (Method::Difference, Wrt::Input) => {
            let steps = options.scheme.terms(options.method).count();
            steps as f64 * packed
        }
        _ => 0.0,
    };
    // The weight itself, packed, and twice more in a diagnosis.
    let weight = packed + 3.0 * k * d;
    let vectors =
        threads * rows_of_part * (ALONG_CLASSES as f64 * k + ALONG_COLUMNS as f64 * d.max(m));
    let copies = match (options.method, wrt) {
        (Method::ForwardPass, Wrt::Input) => threads * m * (2.0 * d + 3.0 * k),
        (Method::ForwardPass, Wrt::Logits) => threads * m * 4.0 * k,
        _ => 0.0,
    };
    let sums = if wrt.is_parameter() {
        let is_diagnosed = budget::is_diagnosed_in_full(problem, wrt);
        let diagnosis = if is_diagnosed { IN_A_DIAGNOSIS } else { 0 };
        (PER_PART as f64 * (threads + 1.0)).max(diagnosis as f64) * k * m
    } else {
        parts * <ColumnSums>::COUNT as f64 * m
    };
    let diagnosed = DIAGNOSED_ROWS.min(problem.n()) as f64;
    PER_SIZE as f64 * (n + d + k)
        + weight
        + tables
        + vectors
        + copies
        + sums
        + PER_DIAGNOSED_ROW as f64 * diagnosed * (k + m)
}
