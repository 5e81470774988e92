//! `reduced-precision-matmul`: matrix products whose operands were rounded first. Not a bug, and worth knowing.
//!
//! The rounding is known, so it can be done again: the gradient is predicted with operands in the format, and what that leaves of the
//! errors proves it.

use half::bf16;

use super::{
    evidence::{Evidence, Rounding, cross_entropy},
    hypothesis::Hypothesis,
    pair::Pair,
};
use crate::{report::Code, tensor::Dtype};

/// A format that matrix units round their operands to.
struct Format {
    name: &'static str,
    unit_roundoff: f64,
    rounding: Rounding,
    /// How to do without.
    fix: &'static str,
}

const TF32_FIX: &str = "torch.set_float32_matmul_precision('highest') (torch.backends.cuda.matmul.allow_tf32 = False), jax.default_matmul_precision('highest')";
const BF16_FIX: &str = "torch.set_float32_matmul_precision('highest'), no torch.autocast, jax.default_matmul_precision('highest')";

/// To nearest, and by leaving bits out, as some units do.
const FORMATS: [Format; 4] = [
    Format {
        name: "TF32",
        unit_roundoff: 1.0 / 2048.0,
        rounding: |value| kept_bits(value, 13, true),
        fix: TF32_FIX,
    },
    Format {
        name: "TF32",
        unit_roundoff: 1.0 / 2048.0,
        rounding: |value| kept_bits(value, 13, false),
        fix: TF32_FIX,
    },
    Format {
        name: "bf16",
        unit_roundoff: 1.0 / 256.0,
        rounding: |value| bf16::from_f64(value).to_f64(),
        fix: BF16_FIX,
    },
    Format {
        name: "bf16",
        unit_roundoff: 1.0 / 256.0,
        rounding: |value| kept_bits(value, 16, false),
        fix: BF16_FIX,
    },
];

/// The most that the prediction may leave of the errors: sums in another order make some operands round the other way.
const LARGEST_REST: f64 = 0.5;
/// The most of g that such errors are, in units of roundoff: measured at 0.4 to 4.4.
const LARGEST: f64 = 16.0;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    if pair.dtype != Dtype::F32 || pair.storage > 0.0 {
        return None;
    }
    let before = pair.fit(1.0).remainder;
    let rounded = |format: &Format| {
        let machine = evidence.with_operands(format.rounding);
        let g = machine.predict(&machine.layer, &cross_entropy);
        let after = pair.against(g, pair.allowed.clone());
        let rest = after.fit(1.0).remainder / before;
        (rest, after)
    };
    let (format, (rest, after)) = FORMATS
        .iter()
        .filter(|format| before <= LARGEST * format.unit_roundoff)
        .map(|format| (format, rounded(format)))
        .min_by(|a, b| a.1.0.total_cmp(&b.1.0))
        .filter(|(_, (rest, _))| *rest <= LARGEST_REST)?;
    let (name, u) = (evidence.name(), format.unit_roundoff);
    let largest = pair
        .g
        .iter()
        .fold(0.0f64, |largest, g| largest.max(g.abs()));
    Some(
        Hypothesis::new(
            Code::ReducedPrecisionMatmul,
            after,
            format!("compared with products of {} operands", format.name),
            format!("{name} is right but for the rounding of the operands of its matrix products to {}: that is a setting, not a bug", format.name),
            format!("ask for full precision ({}), or check with --rtol {:.0e} --atol {:.0e} if it is meant", format.fix, 8.0 * u, u * largest),
        )
        .confidence(0.9)
        .evidence("unit roundoff", u)
        .evidence("rest", rest)
        .settling(),
    )
}

/// An f32 without so many of its lowest bits, to nearest (ties to even) or towards zero.
fn kept_bits(value: f64, dropped: u32, nearest: bool) -> f64 {
    let bits = (value as f32).to_bits();
    let tie = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
    let bits = bits + if nearest { tie } else { 0 };
    f64::from(f32::from_bits(bits >> dropped << dropped))
}

#[cfg(test)]
mod tests {
    use super::kept_bits;

    #[test]
    fn bits_are_dropped_to_nearest_and_towards_zero() {
        let value = 1.0 + 2f64.powi(-10) + 2f64.powi(-11);
        assert_eq!(kept_bits(value, 13, true), 1.0 + 2f64.powi(-9));
        assert_eq!(kept_bits(value, 13, false), 1.0 + 2f64.powi(-10));
        assert_eq!(kept_bits(-value, 13, false), -1.0 - 2f64.powi(-10));
        assert_eq!(kept_bits(0.5, 16, true), 0.5);
    }
}
