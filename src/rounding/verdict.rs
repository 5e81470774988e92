//! The verdict on one entry, shared by the host's comparison and the CPU twin of the shader.

use serde::{Deserialize, Serialize};

/// The bounds on the entries of one row, as coefficients of an entry's own terms.
///
/// See the table of [`rounding`](super) for the terms.
#[derive(Clone, Copy, Debug)]
pub struct RowBounds {
    /// Tolerance per unit of conditioning: rounding times nonlinearity.
    pub rounding: f64,
    /// Tolerance per unit of |numeric|.
    pub drift: f64,
    /// Absolute tolerance.
    pub floor: f64,
    /// True if `rtol` and `atol` replace the three terms above.
    pub is_given: bool,
    /// The user's relative tolerance.
    pub rtol: f64,
    /// The user's absolute tolerance.
    pub atol: f64,
    /// Noise per unit of conditioning, on top of that of each column.
    pub noise_by_row: f64,
    /// Noise per unit of |numeric|.
    pub noise_drift: f64,
    /// Absolute noise.
    pub noise_floor: f64,
    /// The unit roundoff of the gradient under test.
    pub unit_roundoff: f64,
}

/// The conditioning of an entry, for the bound on each of its two errors.
#[derive(Clone, Copy, Debug)]
pub struct Conditioning {
    /// For the tolerance, the bound on the analytic error.
    pub analytic: f64,
    /// For the noise, the bound on the numeric error.
    pub numeric: f64,
}

impl From<f64> for Conditioning {
    fn from(conditioning: f64) -> Self {
        Self {
            analytic: conditioning,
            numeric: conditioning,
        }
    }
}

/// An entry against its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// The larger magnitude, max(|analytic|, |numeric|).
    pub largest: f64,
    /// The error, |analytic - numeric|.
    pub error: f64,
    /// The bound on the analytic error.
    pub tolerance: f64,
    /// The bound on the numeric error.
    pub noise: f64,
    /// True if the error exceeds tolerance + noise.
    pub is_wrong: bool,
    /// True if the bounds are tight enough that an error within them shows the entry to be right.
    pub is_certain: bool,
}

impl Judgement {
    /// Returns the allowed error: tolerance + noise.
    #[inline(always)]
    pub fn allowed(&self) -> f64 {
        self.tolerance + self.noise
    }

    /// Returns the relative error s above which the entry, times 1 ± s and rounded to the type of
    /// the gradient, would be wrong; infinite if none would.
    pub fn detectable(&self, bounds: &RowBounds, numeric: f64) -> f64 {
        // With a = g + error, |a (1 ± s) - g| >= s (|g| - |error|) - |error|. A relative tolerance
        // grows with s.
        let rounding = bounds.unit_roundoff * self.largest;
        let per_error = numeric.abs() - self.error - bounds.rtol * self.largest;
        (self.allowed() + self.error + rounding) / per_error.max(0.0)
    }

    /// Returns true if the entry is shown to be right.
    #[inline(always)]
    pub fn is_right(&self) -> bool {
        !self.is_wrong & self.is_certain
    }
}

impl RowBounds {
    /// Returns the bounds in a row whose rounding exceeds its first-order bound by the factor
    /// `nonlinearity`, and where underflow in the engine may have lost the conditioning `lost`.
    pub fn in_row(self, nonlinearity: f64, lost: f64) -> Self {
        let rounding = self.rounding * nonlinearity;
        Self {
            rounding,
            floor: self.floor + rounding * lost,
            ..self
        }
    }

    /// Judges an entry, where `noise` is its column's noise per unit of conditioning.
    #[inline(always)]
    pub fn judge(
        &self,
        analytic: f64,
        numeric: f64,
        conditioning: Conditioning,
        noise: f64,
    ) -> Judgement {
        if self.is_given {
            self.judge_by::<true>(analytic, numeric, conditioning, noise)
        } else {
            self.judge_by::<false>(analytic, numeric, conditioning, noise)
        }
    }

    /// Judges an entry like [`judge`](Self::judge), with the kind of tolerance fixed at compile
    /// time.
    ///
    /// It runs in every lane of the comparison, so it selects values without branches.
    #[inline(always)]
    pub fn judge_by<const IS_GIVEN: bool>(
        &self,
        analytic: f64,
        numeric: f64,
        conditioning: Conditioning,
        noise: f64,
    ) -> Judgement {
        let (a_abs, g_abs) = (analytic.abs(), numeric.abs());
        let largest = if a_abs > g_abs { a_abs } else { g_abs };
        let error = (analytic - numeric).abs();
        let rounding = self
            .rounding
            .mul_add(conditioning.analytic, self.drift.mul_add(g_abs, self.floor));
        let given = self.rtol.mul_add(largest, self.atol);
        let tolerance = if IS_GIVEN { given } else { rounding };
        let noise_floor = self.noise_drift.mul_add(g_abs, self.noise_floor);
        let noise = conditioning
            .numeric
            .mul_add(noise + self.noise_by_row, noise_floor);
        // An absolute tolerance proves nothing about an entry smaller than the tolerance, unless
        // rounding alone explains the error.
        let is_evident = !IS_GIVEN | (largest >= self.atol) | (error <= rounding + noise);
        Judgement {
            largest,
            error,
            tolerance,
            noise,
            is_wrong: error > tolerance + noise,
            is_certain: (noise <= tolerance) & is_evident,
        }
    }
}

/// The corrupted copies of the gradient that would fail the check.
///
/// A check that would pass one of these copies is worthless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// All entries zero.
    pub zeroed: bool,
    /// All signs flipped.
    pub flipped: bool,
    /// All entries larger by half.
    pub scaled: bool,
    /// Every row rotated by one column.
    pub shuffled: bool,
    /// True if the rotation changes any entry at all.
    pub shuffle_differs: bool,
}

impl Caught {
    /// Compares the entry of each corrupted copy, where `next` is the analytic entry of the next
    /// column.
    #[inline(always)]
    pub fn new(analytic: f64, next: f64, numeric: f64, allowed: f64) -> Self {
        Self {
            zeroed: numeric.abs() > allowed,
            flipped: (analytic + numeric).abs() > allowed,
            scaled: (1.5 * analytic - numeric).abs() > allowed,
            shuffled: (next - numeric).abs() > allowed,
            shuffle_differs: next != analytic,
        }
    }

    /// Adds the results of other entries.
    pub fn merge(&mut self, other: Self) {
        self.zeroed |= other.zeroed;
        self.flipped |= other.flipped;
        self.scaled |= other.scaled;
        self.shuffled |= other.shuffled;
        self.shuffle_differs |= other.shuffle_differs;
    }

    /// Returns true if no further entry can change the result.
    pub fn is_complete(&self) -> bool {
        let copies = self.zeroed && self.flipped && self.scaled && self.shuffled;
        copies && self.shuffle_differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: RowBounds = RowBounds {
        rounding: 0.5,
        drift: 0.25,
        floor: 1.0,
        is_given: false,
        rtol: 0.0,
        atol: 0.0,
        noise_by_row: 0.125,
        noise_drift: 0.0,
        noise_floor: 0.5,
        unit_roundoff: 0.0,
    };

    #[test]
    fn bounds_are_those_of_the_module_documentation() {
        let judgement = BOUNDS.judge(10.0, 4.0, 8.0.into(), 0.25);
        assert_eq!((judgement.error, judgement.largest), (6.0, 10.0));
        assert_eq!((judgement.tolerance, judgement.noise), (6.0, 3.5));
        assert!(judgement.is_right());
        assert!(BOUNDS.judge(14.0, 4.0, 8.0.into(), 0.25).is_wrong);
    }

    #[test]
    fn noise_above_the_tolerance_decides_nothing() {
        let judgement = BOUNDS.judge(4.0, 4.0, 8.0.into(), 1.0);
        assert!(!judgement.is_wrong && !judgement.is_right());
    }

    #[test]
    fn an_absolute_tolerance_is_no_evidence_for_a_smaller_entry() {
        let given = RowBounds {
            rounding: 1e-9,
            drift: 0.0,
            floor: 0.0,
            is_given: true,
            atol: 1.0,
            noise_by_row: 0.0,
            noise_floor: 0.0,
            ..BOUNDS
        };
        assert!(given.judge(2.0, 1.5, 1.0.into(), 1e-9).is_right());
        assert!(!given.judge(0.5, 0.25, 1.0.into(), 1e-9).is_right());
        assert!(given.judge(0.5, 0.5, 1.0.into(), 1e-9).is_right());
    }

    #[test]
    fn caught_names_the_copies_that_differ_by_more_than_is_allowed() {
        let caught = Caught::new(1.0, 1.0, 1.0, 0.75);
        assert!(caught.zeroed && caught.flipped);
        assert!(!caught.scaled && !caught.shuffled && !caught.shuffle_differs);
        let mut all = caught;
        all.merge(Caught::new(1.0, 3.0, 1.0, 0.25));
        assert!(all.is_complete());
    }
}
