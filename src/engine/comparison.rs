//! A comparison on the device: the bounds it takes, and the sums it returns.

use std::ops::Range;

use crate::rounding::{Caught, RowBounds, nonlinearity};

/// The bounds on the entries of a gradient, for a device that compares them itself.
///
/// See the table of [`rounding`](crate::rounding) for the terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// The normalizer Z. The derivative and the conditioning are not divided by it yet.
    pub normalizer: f64,
    /// The rounding that may differ between the device and the host, per unit of |numeric|. The
    /// host combines and divides in f64.
    pub slack: f64,
    /// The unit roundoff of the gradient under test.
    pub unit_roundoff: f64,
    /// Tolerance per unit of conditioning.
    pub rounding: f64,
    /// Tolerance per unit of |numeric|.
    pub drift: f64,
    /// Absolute tolerance.
    pub floor: f64,
    /// Conditioning lost to underflow, per unit of 1 + magnitude.
    pub lost: f64,
    /// The user's rtol and atol, which replace `rounding`, `drift` and `floor`.
    pub given: Option<[f64; 2]>,
    /// Noise per unit of conditioning, for each column, `[m]`.
    pub noise: Vec<f64>,
    /// Noise per unit of conditioning and of the row's magnitude.
    pub noise_by_magnitude: f64,
    /// Noise per unit of |numeric|.
    pub noise_drift: f64,
    /// Absolute noise.
    pub noise_floor: f64,
}

impl Allowance {
    /// Returns the bounds on the entries of a row with this magnitude and logit error.
    pub fn row_bounds(&self, magnitude: f64, logit_error: f64) -> RowBounds {
        let [rtol, atol] = self.given.unwrap_or_default();
        let bounds = RowBounds {
            rounding: self.rounding,
            drift: self.drift,
            floor: self.floor,
            is_given: self.given.is_some(),
            rtol,
            atol,
            noise_by_row: self.noise_by_magnitude * magnitude,
            noise_drift: self.noise_drift,
            noise_floor: self.noise_floor,
            unit_roundoff: self.unit_roundoff,
        };
        let nonlinearity = nonlinearity(self.unit_roundoff, logit_error);
        bounds.in_row(nonlinearity, self.lost * (1.0 + magnitude))
    }
}

/// A device's comparison of a range of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceComparison {
    /// The number of entries that are not clearly within their bounds, plus the number of sums that
    /// left the range of the device's arithmetic. Unless it is 0, the host compares the rows again.
    pub suspects: u64,
    /// The results of consecutive blocks of rows.
    pub blocks: Vec<Block>,
    /// The relative errors that occurred, and the count of each.
    pub rel_err: Vec<(f64, u64)>,
}

/// A device's comparison of one block of rows, all columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The rows of the block.
    pub rows: Range<usize>,
    /// The sums down each column.
    pub columns: BlockColumns,
    /// The sum of tolerance·|numeric| of each row.
    pub tolerance_numeric: Vec<f64>,
    /// The sum of all relative errors.
    pub sum_rel_err: f64,
    /// The largest relative error.
    pub max_rel_err: f64,
    /// The number of entries that noise leaves undecided.
    pub undecided: u64,
    /// The largest severity.
    pub severity: f64,
    /// The corrupted copies of the gradient that would fail.
    pub caught: Caught,
    /// The smallest relative error that would be detected in some entry.
    pub least_detectable: f64,
}

/// Sums over the rows of a block, one per column, in the order of the shader's record; `[m]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockColumns {
    /// The sum of numeric².
    pub numeric_numeric: Vec<f64>,
    /// The sum of (analytic - numeric)·numeric.
    pub error_numeric: Vec<f64>,
    /// The sum of (analytic - numeric)².
    pub error_error: Vec<f64>,
    /// The sum of (tolerance·|numeric|)².
    pub tolerance_tolerance: Vec<f64>,
    /// The sum of tolerance·|numeric|.
    pub tolerance_numeric: Vec<f64>,
    /// The sum of noise·|numeric|.
    pub noise_numeric: Vec<f64>,
    /// The sum of |numeric|.
    pub numeric_abs: Vec<f64>,
}

impl BlockColumns {
    /// Returns sums of zero for m columns.
    pub(crate) fn zeros(m: usize) -> Self {
        let zeros = || vec![0.0; m];
        Self {
            numeric_numeric: zeros(),
            error_numeric: zeros(),
            error_error: zeros(),
            tolerance_tolerance: zeros(),
            tolerance_numeric: zeros(),
            noise_numeric: zeros(),
            numeric_abs: zeros(),
        }
    }
}
