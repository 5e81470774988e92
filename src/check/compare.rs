//! Entry by entry: the numeric gradient from an evaluation, its error against the gradient under test, the verdict; and what
//! the same comparison would have made of a gradient that is certainly wrong.

use std::ops::Range;

use rayon::prelude::*;

use super::noise::Noise;
use crate::{
    plan::{Evaluation, Plan},
    problem::Problem,
    report::{Decision, Entry, Tally, Tolerance},
    scheme::Method,
};

/// Rows that are compared, and their columns summed, at a time: blocks begin at multiples of it.
pub(crate) const BLOCK_ROWS: usize = 64;

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
    index: usize,
    /// The sample's class, where rows are samples and have one.
    label: Option<usize>,
    /// The largest magnitude behind a logit.
    magnitude: f64,
    /// R.
    total: f64,
    /// What first-order bounds on the softmax are to be multiplied by.
    spread: f64,
}

impl Comparator<'_> {
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
        // A chunk may begin or end inside of a block.
        let first = rows.start / BLOCK_ROWS * BLOCK_ROWS;
        let blocks = (first..rows.end).into_par_iter().step_by(BLOCK_ROWS);
        let tally = blocks.fold(Tally::default, |mut tally, start| {
            let block = rows.start.max(start)..rows.end.min(start + BLOCK_ROWS);
            let mut sums = vec![[0.0; 6]; columns];
            for row in block {
                let here = row - rows.start;
                let entries = here * columns..(here + 1) * columns;
                let shared = Row {
                    index: row,
                    label: match self.plan.wrt.is_parameter() {
                        true => None,
                        false => self.problem.label(row),
                    },
                    magnitude: evaluation.magnitude[here],
                    total: evaluation.totals[here],
                    spread: self.spread(evaluation.moved[here]),
                };
                let conditioning = &evaluation.conditioning[entries.clone()];
                let (analytic, numeric) = (&analytic[entries.clone()], &numeric[entries]);
                self.compare_row(
                    &mut tally,
                    &mut sums,
                    shared,
                    conditioning,
                    analytic,
                    numeric,
                );
            }
            tally.columns.add(&sums);
            tally
        });
        tally.reduce(Tally::default, merged)
    }

    /// A row's sums are taken in order and added to the tally's exact sums as one term: the row is the unit that no
    /// cut into chunks divides.
    fn compare_row(
        &self,
        tally: &mut Tally,
        columns: &mut [[f64; 6]],
        row: Row,
        conditioning: &[f64],
        analytic: &[f64],
        numeric: &[f64],
    ) {
        let normalizer = self.problem.normalizer();
        let (mut sum, mut aa, mut ag, mut gg, mut g_abs, mut ee) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut tolerance_g, mut noise_g) = (0.0, 0.0);
        let mut wrong = 0;
        let sampled = Tally::sampled_column(row.index, analytic.len());
        for (column, ((&a, &g), &conditioning)) in
            analytic.iter().zip(numeric).zip(conditioning).enumerate()
        {
            let entry = self.entry(row, column, a, g, conditioning / normalizer);
            let allowed = entry.tolerance + entry.noise;
            let error = (a - g).abs();
            match entry.decision {
                Decision::Wrong => {
                    wrong += 1;
                    tally.places.columns.resize(analytic.len(), 0);
                    tally.places.columns[column] += 1;
                }
                Decision::Undecided => tally.undecided += 1,
                Decision::Right => {}
            }
            tally.rel_err.add(entry.rel_err);
            tally.max_rel_err = tally.max_rel_err.max(entry.rel_err);
            sum += entry.rel_err;
            if a.is_finite() && g.is_finite() {
                aa += a * a;
                ag += a * g;
                gg += g * g;
                g_abs += g.abs();
                ee += error * error;
                let (t, e) = (entry.tolerance * g.abs(), entry.noise * g.abs());
                let terms = [a * g, g * g, t * t, t, e, g.abs()];
                tolerance_g += t;
                noise_g += e;
                columns[column]
                    .iter_mut()
                    .zip(terms)
                    .for_each(|(sum, term)| *sum += term);
                tally.least_detectable = tally.least_detectable.min(allowed / g.abs());
                // Corrupted copies of the gradient, through the same comparison.
                let next = analytic[(column + 1) % analytic.len()];
                tally.caught.zeroed += u64::from(g.abs() > allowed);
                tally.caught.flipped += u64::from((a + g).abs() > allowed);
                tally.caught.scaled += u64::from((1.5 * a - g).abs() > allowed);
                tally.caught.shuffled += u64::from((next - g).abs() > allowed);
                tally.caught.unshuffled += u64::from(next == a);
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
            if column == sampled {
                tally.sample(entry);
            }
        }
        tally.entries += analytic.len() as u64;
        tally.wrong += wrong;
        if wrong > 0 {
            tally.places.rows.add(row.index..row.index + 1);
        }
        if let Some(label) = row.label {
            let classes = &mut tally.places.classes;
            classes.resize(self.problem.k(), [0; 2]);
            classes[label][0] += wrong;
            classes[label][1] += analytic.len() as u64;
        }
        tally.sum_rel_err.add(sum);
        tally.analytic_analytic.add(aa);
        tally.analytic_numeric.add(ag);
        tally.numeric_numeric.add(gg);
        tally.numeric_abs.add(g_abs);
        tally.error_error.add(ee);
        tally.tolerance_tolerance.add(tolerance_g * tolerance_g);
        tally.noise_numeric.add(noise_g);
    }

    /// Logits that are off by δ move the softmax by up to exp(2δ) - 1, which is exp(2δ) times less than twice δ. Near 1
    /// this counts in half precision, where logits in the hundreds leave nothing of the softmax.
    fn spread(&self, moved: f64) -> f64 {
        (2.0 * self.unit_roundoff * moved).min(600.0).exp()
    }

    /// One entry against what it may be off by; `conditioning` is divided by the normaliser.
    fn entry(
        &self,
        row: Row,
        column: usize,
        analytic: f64,
        numeric: f64,
        conditioning: f64,
    ) -> Entry {
        let largest = analytic.abs().max(numeric.abs());
        let error = (analytic - numeric).abs();
        let rel_err = rel_err(analytic, numeric);
        let Tolerance {
            factor,
            floor,
            drift,
            given,
            ..
        } = self.tolerance;
        let rounding = factor * conditioning * row.spread + drift * numeric.abs() + floor;
        let tolerance = given.map_or(rounding, |given| given.rtol * largest + given.atol);
        // A difference that overflowed says nothing.
        let noise = match numeric.is_finite() {
            true => {
                self.noise
                    .bound(column, conditioning, row.magnitude, row.total)
                    + self.noise.drift * numeric.abs()
            }
            false => f64::INFINITY,
        };
        // An absolute tolerance is no evidence for an entry that is smaller; what rounding explains is.
        let certified =
            given.is_none_or(|given| largest >= given.atol || error <= rounding + noise);
        let decision = if !analytic.is_finite() || error > tolerance + noise {
            Decision::Wrong
        } else if noise <= tolerance && certified {
            Decision::Right
        } else {
            Decision::Undecided
        };
        Entry {
            row: row.index,
            column,
            analytic,
            numeric,
            rel_err,
            noise,
            tolerance,
            decision,
        }
    }
}

/// The numeric gradient of a range of rows, [rows·m].
pub(crate) fn numeric(problem: &Problem, plan: &Plan, evaluation: &Evaluation) -> Vec<f64> {
    let Plan {
        method,
        scheme,
        precision,
        ..
    } = *plan;
    let normalizer = problem.normalizer();
    let derivative = |entry: usize| {
        let losses = evaluation.losses.iter().map(|losses| losses[entry]);
        let slope = match method {
            Method::Difference => scheme.combine(losses),
            Method::ForwardPass => {
                let points = plan.steps().map(|step| {
                    // The sum as the engine rounded it.
                    precision.round(evaluation.base[entry] + precision.round(step))
                });
                scheme.derivative(losses, points)
            }
        };
        slope / normalizer
    };
    let entries = (0..evaluation.conditioning.len()).into_par_iter();
    entries.with_min_len(1 << 12).map(derivative).collect()
}

/// |analytic - numeric| / max(|analytic|, |numeric|), as cs231n has it; 0 where both are 0, infinite where either is not
/// finite.
pub(crate) fn rel_err(analytic: f64, numeric: f64) -> f64 {
    match (analytic - numeric).abs() {
        0.0 => 0.0,
        error if error.is_finite() => error / analytic.abs().max(numeric.abs()),
        _ => f64::INFINITY,
    }
}
