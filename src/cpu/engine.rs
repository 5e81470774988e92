//! The CPU as an [`Engine`]: how many rows a call takes, and rows that are evaluated when they are read.

use std::{collections::VecDeque, ops::Range};

use super::Cpu;
use crate::{
    engine::Engine,
    error::Result,
    plan::{Evaluation, Plan, RowSource},
    problem::Problem,
    scheme::Method,
};

/// Entries that the CPU engine is asked for at most at a time, of which it keeps nothing: a twentieth of a second's work, on many threads.
const ENTRIES: usize = 1 << 24;
/// The same of the input, with respect to a parameter: three f64 vectors of it are 24 MiB.
const INPUTS: usize = 1 << 20;
/// Multiply-adds of a thread in an eighth of a second, as measured in 2026: between the calls others are let pass.
const SOON: usize = 1 << 29;
/// But no fewer rows of a thread than make its pass over a large weight worth while, unless they take seconds.
const LEAST_ROWS: usize = 16;
const MOST: usize = 1 << 33;

/// Threads that the work is sized for: what the samples add to a parameter depends, in its last bits, on how many are added at a time,
/// and is to be the same everywhere.
fn threads(plan: &Plan) -> usize {
    if plan.wrt.is_parameter() {
        2
    } else {
        rayon::current_num_threads()
    }
}

/// Rows that the CPU engine is asked for at a time, at most.
pub(crate) fn rows_per_call(problem: &Problem, plan: &Plan) -> usize {
    let entries = if plan.wrt.is_parameter() {
        INPUTS
    } else {
        ENTRIES
    };
    let threads = threads(plan);
    let least = match plan.method {
        Method::Difference => threads * LEAST_ROWS,
        Method::ForwardPass => 1,
    };
    (entries / problem.columns(plan.wrt))
        .min(plan.rows_at_a_time(problem, threads * SOON))
        .max(least)
        .clamp(1, plan.rows_at_a_time(problem, threads * MOST))
}

/// The CPU behind the seam of every engine.
pub(crate) struct CpuEngine<'a> {
    cpu: Cpu<'a>,
    rows_per_call: usize,
    /// The number of parts that a slow row is split into: each takes one thread an eighth of a second.
    parts: Option<usize>,
    /// The first rows of the ranges that were submitted.
    submitted: VecDeque<usize>,
}

impl<'a> CpuEngine<'a> {
    pub(crate) fn new(problem: &'a Problem, plan: Plan) -> Self {
        let a_row = Plan::work(problem, plan.wrt, plan.method, plan.scheme);
        let is_long = plan.method == Method::ForwardPass && a_row > threads(&plan) * SOON;
        Self {
            cpu: Cpu::new(problem, plan),
            rows_per_call: rows_per_call(problem, &plan),
            parts: is_long.then(|| a_row.div_ceil(SOON)),
            submitted: VecDeque::new(),
        }
    }
}

impl Engine for CpuEngine<'_> {
    fn rows_per_call(&self) -> usize {
        self.rows_per_call
    }

    fn evaluate(&mut self, rows: Range<usize>) -> Result<Evaluation> {
        Ok(self.cpu.evaluate(rows))
    }

    fn splits_rows(&self) -> bool {
        self.parts.is_some()
    }

    fn evaluate_in_parts(
        &mut self,
        row: usize,
        keep_going: &mut dyn FnMut(f64) -> bool,
    ) -> Option<Evaluation> {
        let parts = self.parts.unwrap_or(1);
        self.cpu.evaluate_long_row(row, parts, keep_going)
    }

    fn submit(&mut self, rows: Range<usize>) {
        self.submitted.push_back(rows.start);
    }

    fn collect(&mut self) -> Result<Box<dyn RowSource + '_>> {
        let first = self.submitted.pop_front().unwrap_or_default();
        let cpu = &self.cpu;
        Ok(Box::new(LazyRows { cpu, first }))
    }

    fn backward(&mut self, rows: Range<usize>) -> Result<Vec<f64>> {
        Ok(self.cpu.backward(rows))
    }
}

/// Rows that the thread that reads them evaluates, so that they are still in its cache when it uses them.
struct LazyRows<'a> {
    cpu: &'a Cpu<'a>,
    first: usize,
}

impl RowSource for LazyRows<'_> {
    fn rows(&self, rows: Range<usize>, evaluation: &mut Evaluation) {
        let rows = self.first + rows.start..self.first + rows.end;
        self.cpu.evaluate_rows(rows, evaluation);
    }
}
