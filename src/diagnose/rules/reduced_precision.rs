//! `reduced-precision-matmul`: matrix products that round their operands first. Not a bug, but
//! worth knowing.
//!
//! The rounding is known, so it can be repeated: the gradient is predicted with rounded operands,
//! and the errors that this leaves are the proof.

use half::bf16;

use crate::{
    diagnose::{
        evidence::{Evidence, Rounding},
        hypothesis::Hypothesis,
        losses::cross_entropy,
        pair::Pair,
        words::Words,
    },
    report::Code,
    tensor::Dtype,
};

/// A rounding that matrix units apply to their operands.
struct OperandRounding {
    name: &'static str,
    unit_roundoff: f64,
    rounding: Rounding,
    /// Settings that turn it off.
    off: &'static str,
}

const TF32_OFF: &str = "torch.set_float32_matmul_precision('highest') \
                        (torch.backends.cuda.matmul.allow_tf32 = False), \
                        jax.default_matmul_precision('highest')";
const BF16_OFF: &str = "torch.set_float32_matmul_precision('highest'), no torch.autocast, \
                        jax.default_matmul_precision('highest')";

/// Roundings to nearest, and by truncation, as some units do.
const ROUNDINGS: [OperandRounding; 4] = [
    OperandRounding {
        name: "TF32",
        unit_roundoff: 1.0 / 2048.0,
        rounding: |value| without_bits(value, 13, true),
        off: TF32_OFF,
    },
    OperandRounding {
        name: "TF32",
        unit_roundoff: 1.0 / 2048.0,
        rounding: |value| without_bits(value, 13, false),
        off: TF32_OFF,
    },
    OperandRounding {
        name: "bf16",
        unit_roundoff: 1.0 / 256.0,
        rounding: |value| bf16::from_f64(value).to_f64(),
        off: BF16_OFF,
    },
    OperandRounding {
        name: "bf16",
        unit_roundoff: 1.0 / 256.0,
        rounding: |value| without_bits(value, 16, false),
        off: BF16_OFF,
    },
];

/// Largest share of the errors that the prediction may leave. Chosen: sums in another order make
/// some operands round the other way.
const LARGEST_REST: f64 = 0.5;
/// Largest remainder of such errors, in units of roundoff; measured at 0.4 to 4.4.
const LARGEST: f64 = 16.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if pair.dtype != Dtype::F32 || pair.storage > 0.0 {
        return None;
    }
    let before = pair.fit(1.0).remainder;
    let rounded = |by: &OperandRounding| {
        let machine = evidence.with_operands(by.rounding);
        let g = machine.predict(&machine.layer, &cross_entropy);
        let after = pair.against(g, pair.allowed().to_vec());
        let rest = after.fit(1.0).remainder / before;
        (rest, after)
    };
    let (by, (rest, after)) = ROUNDINGS
        .iter()
        .filter(|by| before <= LARGEST * by.unit_roundoff)
        .map(|by| (by, rounded(by)))
        .min_by(|a, b| a.1.0.total_cmp(&b.1.0))
        .filter(|(_, (rest, _))| *rest <= LARGEST_REST)?;
    let largest = pair
        .g
        .iter()
        .fold(0.0f64, |largest, g| largest.max(g.abs()));
    let words = words(evidence, by, largest);
    Some(
        Hypothesis::new(Code::ReducedPrecisionMatmul, after, words)
            .confidence(0.9)
            .evidence("unit roundoff", by.unit_roundoff)
            .evidence("rest", rest)
            .settling(),
    )
}

/// Returns an f32 without its `dropped` lowest bits, rounded to nearest (ties to even) or towards
/// zero.
fn without_bits(value: f64, dropped: u32, nearest: bool) -> f64 {
    let bits = (value as f32).to_bits();
    let tie = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
    let bits = bits + if nearest { tie } else { 0 };
    f64::from(f32::from_bits(bits >> dropped << dropped))
}

fn words(evidence: &Evidence, by: &OperandRounding, largest: f64) -> Words {
    let (name, rounding, u) = (evidence.name(), by.name, by.unit_roundoff);
    Words {
        message: format!(
            "{name} is right except that matrix products rounded their operands to {rounding}: \
             that is a setting, not a bug"
        ),
        correction: format!("compared with products of {rounding} operands"),
        fix: format!(
            "ask for full precision ({}), or check with --rtol {:.0e} --atol {:.0e} if the \
             rounding is intended",
            by.off,
            8.0 * u,
            u * largest
        ),
        ..Words::default()
    }
}

#[cfg(test)]
mod tests {
    use super::without_bits;

    #[test]
    fn bits_are_dropped_to_nearest_and_towards_zero() {
        let value = 1.0 + 2f64.powi(-10) + 2f64.powi(-11);
        assert_eq!(without_bits(value, 13, true), 1.0 + 2f64.powi(-9));
        assert_eq!(without_bits(value, 13, false), 1.0 + 2f64.powi(-10));
        assert_eq!(without_bits(-value, 13, false), -1.0 - 2f64.powi(-10));
        assert_eq!(without_bits(0.5, 16, true), 0.5);
    }
}
