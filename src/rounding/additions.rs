//! The rounding of the additions in a sum over samples.

use crate::tensor::Dtype;

/// Samples that an engine adds up in sequence, at most. The sums of these chains are added up in
/// sequence again.
pub(crate) const ENGINE_CHAIN: usize = 64;

/// Returns the number of additions in sequence behind an engine's sum of n samples.
pub(super) fn chain(n: usize) -> f64 {
    (ENGINE_CHAIN + n / ENGINE_CHAIN).min(n) as f64
}

/// The relative bound on one-sided rounding in a sum of n samples of this multiplicity, in units of
/// roundoff.
pub(super) fn drift(n: f64, multiplicity: f64) -> f64 {
    (n * multiplicity).sqrt() / 2.0
}

/// Returns the type in which frameworks add up samples: half precision is accumulated in f32.
pub(super) fn accumulated_in(dtype: Dtype) -> Dtype {
    if dtype.is_half() { Dtype::F32 } else { dtype }
}
