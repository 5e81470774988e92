//! Operands of a launch in the host's memory: those of the twin, and those read back from the
//! device.

use std::fmt;

use super::{Kernel, Outcome};
use crate::{loss::TargetRows, scheme::Precision};

/// The host's copy of a storage buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Numbers in the arithmetic of the kernel, widened.
    Numbers(Vec<f64>),
    /// Unsigned integers.
    Counts(Vec<u32>),
}

impl Operand {
    /// Returns an operand of `length` zeros.
    pub fn zeros(length: usize) -> Self {
        Self::Numbers(vec![0.0; length])
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Counts(values) => values.len(),
        }
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the numbers. Returns none if the operand holds integers.
    pub fn numbers(&self) -> &[f64] {
        match self {
            Self::Numbers(values) => values,
            Self::Counts(_) => &[],
        }
    }

    /// Returns the numbers, to be overwritten. Returns none if the operand holds integers.
    pub(super) fn numbers_mut(&mut self) -> &mut [f64] {
        match self {
            Self::Numbers(values) => values,
            Self::Counts(_) => &mut [],
        }
    }

    /// Returns the integers. Returns none if the operand holds numbers.
    pub fn counts(&self) -> &[u32] {
        match self {
            Self::Numbers(_) => &[],
            Self::Counts(values) => values,
        }
    }

    /// Returns the operand rounded to `precision`, as a device holds it.
    pub(super) fn rounded(&self, precision: Precision) -> Self {
        self.map(|value| precision.round(value))
    }

    /// Returns the operand with the magnitude of each number.
    pub(super) fn magnitudes(&self) -> Self {
        self.map(f64::abs)
    }

    fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(values.iter().map(|&v| of(v)).collect()),
            Self::Counts(values) => Self::Counts(values.clone()),
        }
    }

    fn element(&self, index: usize) -> f64 {
        match self {
            Self::Numbers(values) => values[index],
            Self::Counts(values) => f64::from(values[index]),
        }
    }
}

impl From<Vec<f64>> for Operand {
    fn from(values: Vec<f64>) -> Self {
        Self::Numbers(values)
    }
}

impl From<Vec<u32>> for Operand {
    fn from(values: Vec<u32>) -> Self {
        Self::Counts(values)
    }
}

/// Returns the operands one by one.
pub(super) fn each<const N: usize>(operands: &mut [Operand]) -> [&mut Operand; N] {
    let operands: &mut [Operand; N] = operands
        .try_into()
        .expect("a launch has an operand for each binding of its kernel");
    operands.each_mut()
}

/// Builds targets from the operands that hold them.
pub(super) fn targets(
    labels: &Operand,
    totals: &Operand,
    linear: &Operand,
    has_linear: bool,
) -> TargetRows<f64> {
    TargetRows {
        labels: labels.counts().to_vec(),
        totals: totals.numbers().to_vec(),
        linear: has_linear.then(|| linear.numbers().to_vec()),
    }
}

/// Returns the columns `begin..end` of a matrix with `width` columns.
pub(super) fn columns(values: &[f64], width: usize, begin: usize, end: usize) -> Vec<f64> {
    let rows = values.chunks_exact(width);
    rows.flat_map(|row| &row[begin..end]).copied().collect()
}

/// A result that differs from the twin's.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// The operand and its element, such as `product[1]`.
    pub place: String,
    /// The value that the device computed.
    pub found: f64,
    /// The twin's value.
    pub expected: f64,
    /// The largest error that rounding explains.
    pub bound: f64,
}

impl Disagreement {
    /// Returns |found - expected|.
    pub fn error(&self) -> f64 {
        (self.found - self.expected).abs()
    }

    /// Returns a disagreement if the error exceeds the bound. A NaN exceeds any bound.
    pub(in crate::gpu) fn of(
        place: impl FnOnce() -> String,
        found: f64,
        expected: f64,
        bound: f64,
    ) -> Option<Self> {
        let is_within = (found - expected).abs() <= bound;
        (!is_within).then(|| Self {
            place: place(),
            found,
            expected,
            bound,
        })
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            found,
            expected,
            bound,
        } = self;
        let error = self.error();
        write!(
            f,
            "{place}: found {found:e}, expected {expected:e}, error {error:e} > {bound:e}"
        )
    }
}

/// Compares the operands that a kernel writes, element by element. `roundings(operand, element)`
/// returns the bound on the error of an element, in units of the unit roundoff. Operands are
/// numbered from the kernel's first binding.
pub(super) fn first_disagreement(
    kernel: &Kernel,
    outcome: &Outcome<'_>,
    roundings: impl Fn(usize, usize) -> f64,
) -> Option<Disagreement> {
    let unit = outcome.precision.unit_roundoff();
    let written = kernel.bindings.iter().enumerate();
    written
        .filter(|(_, binding)| binding.is_written)
        .find_map(|(operand, binding)| {
            let (found, expected) = (&outcome.found[operand], &outcome.expected[operand]);
            if found.len() != expected.len() {
                let place = || format!("the length of {}", binding.name);
                let (found, expected) = (found.len() as f64, expected.len() as f64);
                return Disagreement::of(place, found, expected, 0.0);
            }
            (0..expected.len()).find_map(|i| {
                let place = || format!("{}[{i}]", binding.name);
                let bound = roundings(operand, i) * unit;
                Disagreement::of(place, found.element(i), expected.element(i), bound)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernel::outer;

    /// Compares results of `outer` with the expected 1 and 2, to within 4 roundings of f32.
    fn found(product: Vec<f64>) -> Option<String> {
        let operands = |product| [Vec::new(), Vec::new(), product].map(Operand::Numbers);
        let outcome = Outcome {
            precision: Precision::F32,
            before: &operands(Vec::new()),
            found: &operands(product),
            expected: &operands(vec![1.0, 2.0]),
        };
        first_disagreement(&outer::KERNEL, &outcome, |_, _| 4.0).map(|found| found.place)
    }

    #[test]
    fn the_first_element_that_is_off_is_named() {
        let u = Precision::F32.unit_roundoff();
        assert_eq!(found(vec![1.0, 2.0 + 4.0 * u]), None);
        assert_eq!(found(vec![1.0, 2.0 + 5.0 * u]).unwrap(), "product[1]");
        assert_eq!(found(vec![f64::NAN, 0.0]).unwrap(), "product[0]");
        assert_eq!(found(vec![1.0]).unwrap(), "the length of product");
    }
}
