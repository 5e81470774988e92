//! The bounds on the entries' errors, in the layout of shaders/allowance.wgsl.

use crate::{engine::Allowance, scheme::Precision};

/// Number of elements before the noise of the columns.
const NUMBERS: usize = 14;

/// Converts an allowance to the elements of the shader's `Allowance`, for a device of `precision`.
pub(in crate::gpu) fn to_operand(allowance: &Allowance, precision: Precision) -> Vec<f64> {
    let [rtol, atol] = allowance.given.unwrap_or_default();
    let per_normalizer = 1.0 / allowance.normalizer;
    let numbers: [f64; NUMBERS] = [
        per_normalizer,
        per_normalizer - precision.round(per_normalizer),
        allowance.unit_roundoff,
        f64::from(u8::from(allowance.given.is_some())),
        allowance.rounding,
        allowance.drift,
        allowance.floor,
        allowance.lost,
        rtol,
        atol,
        allowance.noise_by_magnitude,
        allowance.noise_drift,
        allowance.noise_floor,
        allowance.slack,
    ];
    numbers.iter().chain(&allowance.noise).copied().collect()
}

/// Converts an operand back to the allowance.
pub(in crate::gpu) fn from_operand(operand: &[f64]) -> Allowance {
    let (numbers, noise) = operand.split_at(NUMBERS);
    let number = |index: usize| numbers[index];
    let is_given = number(3) == 1.0;
    Allowance {
        normalizer: 1.0 / (number(0) + number(1)),
        unit_roundoff: number(2),
        rounding: number(4),
        drift: number(5),
        floor: number(6),
        lost: number(7),
        given: is_given.then(|| [number(8), number(9)]),
        noise: noise.to_vec(),
        noise_by_magnitude: number(10),
        noise_drift: number(11),
        noise_floor: number(12),
        slack: number(13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_read_back() {
        let allowance = Allowance {
            normalizer: 4.0,
            slack: 1.0,
            unit_roundoff: 2.0,
            rounding: 3.0,
            drift: 5.0,
            floor: 6.0,
            lost: 6.5,
            given: Some([7.0, 8.0]),
            noise: vec![9.0, 10.0],
            noise_by_magnitude: 11.0,
            noise_drift: 12.0,
            noise_floor: 13.0,
        };
        for precision in [Precision::F32, Precision::F64] {
            assert_eq!(from_operand(&to_operand(&allowance, precision)), allowance);
        }
    }
}
