//! A strip: a few rows that are evaluated and compared together.

use std::ops::Range;

use crate::{cpu::simd, engine::Evaluation, rounding::Conditioning};

/// Rows of the gradient under test, and their evaluation.
#[derive(Default)]
pub(super) struct Strip {
    /// The numbers of the rows.
    pub(super) rows: Range<usize>,
    /// The gradient under test, [rows·m].
    pub(super) analytic: Vec<f64>,
    /// The evaluation, not divided by the normalizer.
    pub(super) evaluation: Evaluation,
    /// The factor 1/Z.
    pub(super) per_normalizer: f64,
}

/// One row of a strip, [m] each.
pub(super) struct RowEntries<'a> {
    pub(super) analytic: &'a [f64],
    /// The derivative, not divided by the normalizer.
    pub(super) derivative: &'a [f64],
    /// The conditioning, not divided by the normalizer.
    pub(super) conditioning: &'a [f64],
    /// The conditioning for the tolerance, not divided by the normalizer.
    pub(super) tolerated: &'a [f64],
    /// The factor 1/Z.
    pub(super) per_normalizer: f64,
}

impl Strip {
    /// Returns row `here` of the strip, counted from the strip's first.
    #[inline(always)]
    pub(super) fn row(&self, here: usize, columns: usize) -> RowEntries<'_> {
        let entries = here * columns..(here + 1) * columns;
        let bounds = &self.evaluation.bounds;
        RowEntries {
            analytic: &self.analytic[entries.clone()],
            derivative: &self.evaluation.derivative()[entries.clone()],
            conditioning: &bounds.conditioning[entries.clone()],
            tolerated: &bounds.tolerated()[entries],
            per_normalizer: self.per_normalizer,
        }
    }
}

impl RowEntries<'_> {
    /// Returns the analytic entry, the numeric entry and the conditioning.
    pub(super) fn at(&self, column: usize) -> (f64, f64, Conditioning) {
        (
            self.analytic[column],
            self.derivative[column] * self.per_normalizer,
            Conditioning {
                analytic: self.tolerated[column] * self.per_normalizer,
                numeric: self.conditioning[column] * self.per_normalizer,
            },
        )
    }

    /// Returns true if all analytic and numeric entries are finite. Visits every entry, because a
    /// search that ends early does not run in vectors.
    pub(super) fn is_finite(&self) -> bool {
        simd(
            #[inline(always)]
            || {
                let pairs = self.analytic.iter().zip(self.derivative);
                pairs.fold(true, |all, (a, b)| all & a.is_finite() & b.is_finite())
            },
        )
    }
}
