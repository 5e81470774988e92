//! Entry by entry: the numeric gradient from an evaluation, its error against the gradient under test, the verdict.

use std::ops::Range;

use rayon::prelude::*;

use super::noise::Noise;
use crate::{
    plan::{Evaluation, Plan},
    problem::Problem,
    report::{Entry, Tally, Tolerance},
    scheme::Method,
};

/// Rows that a thread compares at a time.
const BLOCK_ROWS: usize = 64;

/// What all entries of one gradient are compared by.
pub(crate) struct Comparator<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) plan: Plan,
    pub(crate) tolerance: Tolerance,
    /// Of the gradient under test.
    pub(crate) unit_roundoff: f64,
    pub(crate) noise: Noise,
}

/// What all entries of a row share.
#[derive(Clone, Copy)]
struct Row {
    /// The largest magnitude behind a logit.
    magnitude: f64,
    /// R.
    total: f64,
    /// What first-order bounds on the softmax are to be multiplied by.
    spread: f64,
}

impl Comparator<'_> {
    /// Logits that are off by δ move the softmax by up to exp(2δ) - 1, which is exp(2δ) times less than twice δ. Near 1
    /// this counts in half precision, where logits in the hundreds leave nothing of the softmax.
    fn spread(&self, moved: f64) -> f64 {
        (2.0 * self.unit_roundoff * moved).min(600.0).exp()
    }

    /// The numeric gradient of a range of rows, [rows·m].
    pub(crate) fn numeric(&self, evaluation: &Evaluation) -> Vec<f64> {
        let Plan {
            method,
            scheme,
            precision,
            ..
        } = self.plan;
        let normalizer = self.problem.normalizer();
        let derivative = |entry: usize| {
            let losses = evaluation.losses.iter().map(|losses| losses[entry]);
            let slope = match method {
                Method::Difference => scheme.combine(losses),
                Method::ForwardPass => {
                    let points = self.plan.steps().map(|step| {
                        // The sum as the engine rounded it.
                        precision.round(evaluation.base[entry] + precision.round(step))
                    });
                    scheme.derivative(losses, points)
                }
            };
            slope / normalizer
        };
        (0..evaluation.conditioning.len())
            .into_par_iter()
            .with_min_len(1 << 12)
            .map(derivative)
            .collect()
    }

    /// Compares a range of rows: `analytic` and `numeric` [rows·m].
    pub(crate) fn compare(
        &self,
        rows: Range<usize>,
        evaluation: &Evaluation,
        analytic: &[f64],
        numeric: &[f64],
    ) -> Tally {
        let columns = self.problem.columns(self.plan.wrt);
        let merged = |mut a: Tally, b: Tally| {
            a.merge(b);
            a
        };
        let blocks = (0..rows.len()).into_par_iter().with_min_len(BLOCK_ROWS);
        let tally = blocks.fold(Tally::default, |mut tally, row| {
            let entries = row * columns..(row + 1) * columns;
            self.compare_row(
                &mut tally,
                rows.start + row,
                Row {
                    magnitude: evaluation.magnitude[row],
                    total: evaluation.totals[row],
                    spread: self.spread(evaluation.moved[row]),
                },
                &evaluation.conditioning[entries.clone()],
                &analytic[entries.clone()],
                &numeric[entries],
            );
            tally
        });
        tally.reduce(Tally::default, merged)
    }

    /// A row's sums are taken in order and added to the tally's exact sums as one term: the row is the unit that no
    /// cut into chunks divides.
    fn compare_row(
        &self,
        tally: &mut Tally,
        row: usize,
        scale: Row,
        conditioning: &[f64],
        analytic: &[f64],
        numeric: &[f64],
    ) {
        let normalizer = self.problem.normalizer();
        let (mut sum, mut aa, mut ag, mut gg, mut ee) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (column, ((&a, &g), &conditioning)) in
            analytic.iter().zip(numeric).zip(conditioning).enumerate()
        {
            let entry = self.judge(row, column, a, g, conditioning / normalizer, scale);
            let Entry {
                rel_err,
                noise,
                tolerance,
                ..
            } = entry;
            let error = (a - g).abs();
            let wrong = !a.is_finite() || error > tolerance + noise;
            tally.wrong += u64::from(wrong);
            tally.undecided += u64::from(!wrong && !(noise <= tolerance));
            tally.seen += u64::from(g.abs() > tolerance + noise);
            tally.rel_err.add(rel_err);
            tally.max_rel_err = tally.max_rel_err.max(rel_err);
            sum += rel_err;
            if a.is_finite() && g.is_finite() {
                aa += a * a;
                ag += a * g;
                gg += g * g;
                ee += error * error;
            } else {
                tally.not_finite += u64::from(!a.is_finite());
                ee += f64::INFINITY;
            }
            if tally
                .worst
                .last()
                .is_none_or(|least| !(entry.severity() < least.severity()))
            {
                tally.note(entry);
            }
        }
        tally.entries += analytic.len() as u64;
        tally.sum_rel_err.add(sum);
        tally.analytic_analytic.add(aa);
        tally.analytic_numeric.add(ag);
        tally.numeric_numeric.add(gg);
        tally.error_error.add(ee);
    }

    /// One entry against what it may be off by; `conditioning` is divided by the normaliser.
    fn judge(
        &self,
        row: usize,
        column: usize,
        analytic: f64,
        numeric: f64,
        conditioning: f64,
        scale: Row,
    ) -> Entry {
        let largest = analytic.abs().max(numeric.abs());
        let error = (analytic - numeric).abs();
        let rel_err = if error == 0.0 {
            0.0
        } else if error.is_finite() {
            error / largest
        } else {
            f64::INFINITY
        };
        let tolerance = match self.tolerance {
            Tolerance::Rounding { factor, floor } => factor * conditioning * scale.spread + floor,
            Tolerance::Given { rtol, atol } => rtol * largest + atol,
        };
        // A difference that overflowed says nothing.
        let noise = if numeric.is_finite() {
            self.noise
                .bound(column, conditioning, scale.magnitude, scale.total)
        } else {
            f64::INFINITY
        };
        Entry {
            row,
            column,
            analytic,
            numeric,
            rel_err,
            noise,
            tolerance,
        }
    }
}
