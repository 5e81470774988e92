//! Single entries of a gradient.

use serde::{Deserialize, Serialize};

use crate::number;
use crate::problem::{Layout, Wrt};

/// One entry of a gradient, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<Index = [usize; 2]> {
    /// The row and the column of the matrix that is checked; or, in a
    /// [`Check`](super::Check), the place in the gradient as the user has it.
    pub index: Index,
    /// The gradient under test.
    #[serde(with = "number")]
    pub analytic: f64,
    /// The finite difference.
    #[serde(with = "number")]
    pub numeric: f64,
    /// `|analytic - numeric| / max(|analytic|, |numeric|)`.
    #[serde(with = "number")]
    pub rel_err: f64,
    /// The bound on the error of `numeric`.
    #[serde(with = "number")]
    pub noise: f64,
    /// The bound on the error of a correct `analytic`.
    #[serde(with = "number")]
    pub tolerance: f64,
    /// The decision on the entry. Not in JSON: `None` in a report read from it.
    #[serde(skip)]
    pub decision: Option<Decision>,
}

/// The decision on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The error is at most tolerance plus noise, and the noise at most the tolerance.
    Right,
    /// The error is larger than tolerance plus noise.
    Wrong,
    /// The noise is too large for a decision.
    Undecided,
}

impl Entry {
    /// Returns the entry at its place in a gradient with respect to `wrt` of this layout.
    pub(super) fn placed(&self, wrt: Wrt, layout: Option<&Layout>) -> Entry<Vec<usize>> {
        let [row, column] = self.index;
        Entry {
            index: wrt.index(layout, row, column),
            analytic: self.analytic,
            numeric: self.numeric,
            rel_err: self.rel_err,
            noise: self.noise,
            tolerance: self.tolerance,
            decision: self.decision,
        }
    }
}

impl<Index> Entry<Index> {
    /// Returns `|analytic - numeric|` in units of the allowed error. Above 1 the entry is wrong.
    /// Returns infinity if one of the two is NaN or infinite, and 0 if they are equal.
    pub fn severity(&self) -> f64 {
        let error = (self.analytic - self.numeric).abs();
        if !error.is_finite() {
            f64::INFINITY
        } else if error == 0.0 {
            0.0
        } else {
            error / (self.tolerance + self.noise)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_severity_is_nan() {
        let severity = |analytic, numeric, tolerance| {
            let entry = Entry {
                index: [0, 0],
                analytic,
                numeric,
                rel_err: 0.0,
                noise: 0.0,
                tolerance,
                decision: None,
            };
            entry.severity()
        };
        let inf = f64::INFINITY;
        assert_eq!(severity(3.0, 1.0, 0.5), 4.0);
        assert_eq!(severity(1.0, 1.0, 0.0), 0.0);
        // A relative tolerance of an infinite entry is infinite.
        assert_eq!(severity(inf, 1.0, inf), inf);
        assert_eq!(severity(inf, inf, 1.0), inf);
        assert_eq!(severity(f64::NAN, 1.0, 1.0), inf);
        assert_eq!(severity(1.0, 0.0, inf), 0.0);
    }
}
