//! One row of the gradient: its wrong entries, its candidates for the worst, and the entries that
//! the report shows.

use super::{
    Frame,
    lanes::{LANES, Limits, Scratch},
    strip::Strip,
};
use crate::{
    report::{Decision, Entry, Kept, Tally},
    rounding::{Caught, Conditioning, RowBounds},
};

/// Relative error of a product that takes the place of a quotient, with a margin.
const ROUNDING: f64 = 1e-12;

/// Returns the severity above which an entry may be one of the worst. Of entries with equal
/// severity, those that came first are kept.
fn threshold(tally: &Tally) -> f64 {
    match tally.kept.worst.len() {
        Kept::WORST => tally.kept.worst[Kept::WORST - 1].severity() * (1.0 - ROUNDING),
        _ => -1.0,
    }
}

/// Returns the limits of the candidates, for a gradient of this unit roundoff.
///
/// An entry is more sensitive than the most sensitive one so far, `least`, if allowed + error +
/// u·largest < least·(|numeric| - error): see [`Judgement::detectable`]. |numeric| stands for the
/// largest, and a relative tolerance is left out, which only adds candidates.
///
/// [`Judgement::detectable`]: crate::rounding::Judgement::detectable
pub(super) fn limits(tally: &Tally, unit_roundoff: f64) -> Limits {
    let least = tally.sensitivity.least * (1.0 + ROUNDING);
    let (per_error, per_numeric) = if least < f64::INFINITY {
        (1.0 + least, least - unit_roundoff)
    } else {
        (1.0, f64::MAX)
    };
    Limits {
        severity: threshold(tally),
        per_error,
        per_numeric,
    }
}

impl Frame<'_> {
    /// Adds a compared row: its counts, the places of its wrong entries, its candidates for the
    /// worst and for the most sensitive one, and one entry that may be drawn as a sample. The
    /// candidates lie in the lanes `candidates`.
    pub(super) fn note_row(
        &self,
        tally: &mut Tally,
        strip: &Strip,
        here: usize,
        bounds: &RowBounds,
        wrong: u64,
        candidates: [bool; LANES],
    ) {
        let columns = self.columns();
        let row = strip.rows.start + here;
        let entries = strip.row(here, columns);
        let judge = |column: usize| {
            let (a, g, c) = entries.at(column);
            bounds.judge(a, g, c, self.noise.by_column[column])
        };
        let entry = |column| self.entry(bounds, (row, column), entries.at(column));
        tally.counts.entries += columns as u64;
        tally.counts.wrong += wrong;
        if wrong > 0 {
            tally.places.rows.add(row..row + 1);
            tally.places.columns.resize(columns, 0);
            for (column, wrong) in tally.places.columns.iter_mut().enumerate() {
                let (a, g, _) = entries.at(column);
                let is_wrong = !a.is_finite() | (g.is_finite() & judge(column).is_wrong);
                *wrong += u64::from(is_wrong);
            }
        }
        self.count_label(tally, row, wrong);
        for lane in (0..LANES).filter(|&lane| candidates[lane]) {
            for column in (lane..columns).step_by(LANES) {
                let judgement = judge(column);
                let (_, g, _) = entries.at(column);
                let least = &mut tally.sensitivity.least;
                *least = least.min(judgement.detectable(bounds, g));
                // Earlier rows may have raised the threshold. NaN is always a candidate.
                if !(judgement.error <= threshold(tally) * judgement.allowed()) {
                    tally.kept.add_worst(entry(column));
                }
            }
        }
        tally
            .kept
            .add_sample(entry(Kept::sampled_column(row, columns)));
    }

    /// Counts the entries of a row, and the wrong ones among them, under the class of its target.
    pub(in crate::check) fn count_label(&self, tally: &mut Tally, row: usize, wrong: u64) {
        let Some(labels) = &self.labels else {
            return;
        };
        if let Some(label) = (labels.of)(row) {
            let classes = &mut tally.places.classes;
            classes.resize(labels.classes, [0; 2]);
            classes[label][0] += wrong;
            classes[label][1] += self.columns() as u64;
        }
    }

    /// Compares a row with entries that are not finite. Those are wrong or undecided, and enter no
    /// sum except that of the errors.
    pub(super) fn compare_not_finite(
        &self,
        tally: &mut Tally,
        scratch: &mut Scratch,
        strip: &Strip,
        here: usize,
        bounds: &RowBounds,
    ) {
        let columns = self.columns();
        let entries = strip.row(here, columns);
        let (mut wrong, mut tolerance) = (0, 0.0);
        for column in 0..columns {
            let (a, g, c) = entries.at(column);
            let place = (strip.rows.start + here, column);
            let entry = self.entry(bounds, place, (a, g, c));
            let allowed = entry.tolerance + entry.noise;
            wrong += u64::from(entry.decision == Some(Decision::Wrong));
            tally.counts.undecided += u64::from(entry.decision == Some(Decision::Undecided));
            tally.counts.not_finite += u64::from(!a.is_finite());
            tally.rel_err.max = tally.rel_err.max.max(entry.rel_err);
            tally.rel_err.sum.add(entry.rel_err);
            tally.rel_err.histogram.add(entry.rel_err);
            if !a.is_finite() || !g.is_finite() {
                tally.sums.error_error.add(f64::INFINITY);
                continue;
            }
            let next = entries.analytic[(column + 1) % columns];
            let t = entry.tolerance * g.abs();
            tally.sums.analytic_analytic.add(a * a);
            tally.sums.error_error.add((a - g) * (a - g));
            tolerance += t;
            let sums = &mut scratch.columns;
            sums.analytic_numeric[column] += a * g;
            sums.numeric_numeric[column] += g * g;
            sums.tolerance_tolerance[column] += t * t;
            sums.tolerance_numeric[column] += t;
            sums.noise_numeric[column] += entry.noise * g.abs();
            sums.numeric_abs[column] += g.abs();
            tally
                .sensitivity
                .caught
                .merge(Caught::new(a, next, g, allowed));
        }
        tally.sums.tolerance_tolerance.add(tolerance * tolerance);
        self.note_row(tally, strip, here, bounds, wrong, [true; LANES]);
    }

    /// Returns one entry as the report shows it.
    pub(super) fn entry(
        &self,
        bounds: &RowBounds,
        (row, column): (usize, usize),
        (analytic, numeric, conditioning): (f64, f64, Conditioning),
    ) -> Entry {
        let noise = self.noise.by_column[column];
        let judgement = bounds.judge(analytic, numeric, conditioning, noise);
        // A numeric entry that overflowed proves nothing.
        let is_evidence = numeric.is_finite();
        let decision = if !analytic.is_finite() || (is_evidence && judgement.is_wrong) {
            Decision::Wrong
        } else if is_evidence && judgement.is_right() {
            Decision::Right
        } else {
            Decision::Undecided
        };
        let noise = if is_evidence {
            judgement.noise
        } else {
            f64::INFINITY
        };
        Entry {
            index: [row, column],
            analytic,
            numeric,
            rel_err: rel_err(analytic, numeric),
            noise,
            tolerance: judgement.tolerance,
            decision: Some(decision),
        }
    }
}

/// Returns |analytic - numeric| / max(|analytic|, |numeric|), as cs231n defines it: 0 if both are
/// 0, infinite if either is not finite.
pub(crate) fn rel_err(analytic: f64, numeric: f64) -> f64 {
    match (analytic - numeric).abs() {
        0.0 => 0.0,
        error if error.is_finite() => error / analytic.abs().max(numeric.abs()),
        _ => f64::INFINITY,
    }
}
