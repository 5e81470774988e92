//! The CPU engine's implementation of the trait [`Engine`].

use std::{collections::VecDeque, ops::Range};

use super::Cpu;
use crate::{
    budget,
    engine::{Engine, Evaluation, RowSource},
    error::Result,
    plan::Plan,
    problem::Problem,
};

/// The CPU engine for one plan. Each call evaluates a limited number of rows.
pub(crate) struct CpuEngine<'a> {
    cpu: Cpu<'a>,
    rows_per_call: usize,
    /// Number of parts of a row, if a row is too slow for one call.
    parts: Option<usize>,
    /// First rows of the ranges that were submitted and not yet collected.
    submitted: VecDeque<usize>,
}

impl<'a> CpuEngine<'a> {
    pub(crate) fn new(problem: &'a Problem, plan: Plan) -> Self {
        Self {
            cpu: Cpu::new(problem, plan),
            rows_per_call: budget::cpu_call_rows(problem, plan.derivative()),
            parts: budget::cpu_row_parts(problem, plan.derivative()),
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

/// Rows that are evaluated when they are read, by the reading thread. The results are then in that
/// thread's cache.
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
