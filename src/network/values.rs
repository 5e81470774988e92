//! Blocks of values at a layer, and their rounding errors.

use super::arithmetic::Arithmetic;

/// The inputs and the output of a layer, with the errors of a program's.
pub(super) struct At<'a> {
    pub(super) inputs: Vec<&'a [f64]>,
    pub(super) output: &'a [f64],
    pub(super) of_inputs: Vec<&'a Errors>,
    pub(super) arithmetic: &'a Arithmetic,
}

/// The rounding errors of values.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    /// Standard deviations, in units of the unit roundoff.
    pub(super) smooth: Vec<f64>,
    /// Changes by values that lie so close to a kink that a program may be on its other side.
    pub(super) flips: Vec<f64>,
}

impl Errors {
    pub(super) fn zeros(length: usize) -> Self {
        Self {
            smooth: vec![0.0; length],
            flips: vec![0.0; length],
        }
    }

    /// Returns the largest error of a right value: the law of networks.
    pub(super) fn allowed(&self, entry: usize, u: f64) -> f64 {
        CERTAINTY * (u * self.smooth[entry]).hypot(self.flips[entry] / 2.0)
    }
}

/// Standard deviations that a right value may be off. With 4, one of 6,400 gradients of PyTorch's
/// was off by 1.07 times the allowed error, in f16.
pub(super) const CERTAINTY: f64 = 5.0;
