//! `half-precision`: every number is one that f16 or bf16 has.

use half::{bf16, f16};

use super::{
    case::Case,
    evidence::{Evidence, cross_entropy},
    hypothesis::Hypothesis,
};
use crate::tensor::Dtype;

/// Fewer values may be such numbers by chance: 1 and 0.5 are.
const LEAST: usize = 6;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if !matches!(case.dtype, Dtype::F32 | Dtype::F64) {
        return None;
    }
    let values = || case.live().map(|(_, a, _, _)| a).filter(|a| *a != 0.0);
    let dtype = [Dtype::F16, Dtype::BF16]
        .into_iter()
        .find(|dtype| values().all(|a| is_exact(*dtype, a)))?;
    // Counts are exact in any type.
    let fractions = values().filter(|a| a.fract() != 0.0);
    let mut distinct: Vec<u64> = fractions.map(|a| a.abs().to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < LEAST {
        return None;
    }
    let allowed = evidence.allowed(&evidence.layer, &cross_entropy, &case.g, dtype);
    let mut after = case.against(case.g.clone(), allowed);
    after.dtype = dtype;
    // A bug may well give nothing but entries of the weight, which is allowed to be in half precision.
    let mut weights = evidence.layer.weight.iter();
    if after.fit(1.0).wrong >= case.fit(1.0).wrong && weights.all(|w| is_exact(dtype, *w)) {
        return None;
    }
    let (name, u) = (evidence.name(), dtype.unit_roundoff());
    let zeros = case
        .live()
        .filter(|(_, a, g, _)| *a == 0.0 && *g != 0.0)
        .count();
    let flushed = match (dtype, zeros) {
        (Dtype::F16, 1..) => {
            format!(", and {zeros} entries below f16's smallest number became zero")
        }
        _ => String::new(),
    };
    let hypothesis = Hypothesis::new(
        "half-precision",
        after,
        format!("allowing for the rounding of {dtype}"),
        format!(
            "{name} is stored as {} but every number in it is exactly one of {dtype}: it went through {dtype} on its way{flushed}",
            case.dtype
        ),
        format!(
            "if that is meant (autocast, model.half(), bfloat16 parameters), save the gradient as {dtype} or check with --rtol {:.0e}; if not, turn torch.autocast off, or cast the parameters to float32 before the backward pass",
            4.0 * u
        ),
    );
    Some(
        hypothesis
            .evidence("unit roundoff", u)
            .evidence("zeros", zeros as f64),
    )
}

/// Whether a half-precision type has this very number.
fn is_exact(dtype: Dtype, value: f64) -> bool {
    let rounded = match dtype {
        Dtype::F16 => f16::from_f64(value).to_f64(),
        _ => bf16::from_f64(value).to_f64(),
    };
    rounded == value
}
