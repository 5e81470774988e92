//! Vector instructions: the dispatch to the widest available, and sums that run in lanes.
//!
//! Loops are plain Rust. The compiler turns them into vector code inside [`simd`], where it knows
//! the instructions of the processor.

use crate::tensor::Real;

/// Number of partial sums that run side by side: two AVX-512 vectors of f64, so that one addition
/// does not wait for the other. Each partial sum adds a sixteenth of the terms, which also divides
/// the bound on its rounding error by 16.
pub(super) const LANES: usize = 16;

/// Runs `kernel` with the widest vector instructions of the processor.
///
/// Its loops must be inlined into it to profit. Outside of it, `mul_add` is a slow call into the C
/// library if the target's baseline has no fused multiply-add.
pub(crate) fn simd<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// Runs `wide` as [`simd`] does if the processor has AVX-512, that is 32 registers of 8 f64, and
/// `narrow` otherwise. Each of the two is compiled only for the instructions that run it.
pub(crate) fn simd_by_width<A, R>(
    argument: A,
    wide: impl FnOnce(A) -> R,
    narrow: impl FnOnce(A) -> R,
) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::Arch;
        match pulp::Arch::new() {
            Arch::V4(simd) => simd.vectorize(
                #[inline(always)]
                || wide(argument),
            ),
            Arch::V3(simd) => simd.vectorize(
                #[inline(always)]
                || narrow(argument),
            ),
            _ => narrow(argument),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = wide;
        simd(
            #[inline(always)]
            || narrow(argument),
        )
    }
}

/// Returns the larger value, or `b` if `a` is NaN. Compiles to one instruction, unlike
/// `Float::max`.
#[inline(always)]
pub(crate) fn larger<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// Returns the sum of the lanes. Adds the upper half to the lower half until one lane is left, as
/// in pairwise summation (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section
/// 4.1).
#[inline(always)]
pub(super) fn pairwise<T: Real>(mut sums: [T; LANES]) -> T {
    for half in [8, 4, 2, 1] {
        let (lower, upper) = sums.split_at_mut(half);
        for (sum, other) in lower.iter_mut().zip(upper) {
            *sum += *other;
        }
    }
    sums[0]
}

/// Values that a lane adds up in sequence. A sum of equal values, such as the exponentials of equal
/// logits, would drift in a long sequence.
const CHAIN: usize = 64;

/// Returns the sum of `values`. Value i is added to lane i modulo [`LANES`]. The sums of
/// [`CHAIN`] values per lane are added up in turn.
pub(super) fn sum<T: Real>(mut values: impl Iterator<Item = T>) -> T {
    let (mut sums, mut is_full) = chain(&mut values);
    while is_full {
        let (chain, is_next_full) = chain(&mut values);
        for (sum, chain) in sums.iter_mut().zip(chain) {
            *sum += chain;
        }
        is_full = is_next_full;
    }
    pairwise(sums)
}

/// Adds up to [`CHAIN`] values per lane. Returns true beside the sums if there were that many.
#[inline(always)]
fn chain<T: Real>(values: &mut impl Iterator<Item = T>) -> ([T; LANES], bool) {
    let mut sums = [T::zero(); LANES];
    let mut count = 0;
    for value in values.take(LANES * CHAIN) {
        sums[count % LANES] += value;
        count += 1;
    }
    (sums, count == LANES * CHAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_any_number_of_values() {
        for count in [0, 1, 15, 16, 17, 100, 1024, 3000] {
            // Sums of small integers are exact in any order.
            let expected = (0..count).sum::<i32>();
            let found = sum((0..count).map(f64::from));
            assert_eq!(found, f64::from(expected), "{count}");
        }
    }

    #[test]
    fn a_nan_is_not_larger() {
        assert_eq!(larger(2.0, 1.0), 2.0);
        assert_eq!(larger(f64::NAN, 1.0), 1.0);
        assert!(larger(1.0, f64::NAN).is_nan());
    }
}
