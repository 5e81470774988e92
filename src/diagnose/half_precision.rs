//! `half-precision`: every number is one that f16 or bf16 has.

use super::{
    evidence::{Evidence, cross_entropy},
    hypothesis::{Fallback, Hypothesis, number},
    pair::Pair,
};
use crate::{report::Code, tensor::Dtype};

/// What rounding at every step leaves of g, in units of roundoff: measured at 0.2 to 2.
const MORE: f64 = 3.0;
/// The same in f32, where sums are as narrow as their terms.
const MORE_IN_F32: f64 = 30.0;
/// Fewer values may be such numbers by chance: 1 and 0.5 are.
const LEAST: usize = 6;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let narrower: &[Dtype] = match pair.dtype {
        Dtype::F64 => &[Dtype::BF16, Dtype::F16, Dtype::F32],
        Dtype::F32 => &[Dtype::BF16, Dtype::F16],
        _ => return None,
    };
    let values = || pair.live().map(|(_, a, _, _)| a).filter(|a| *a != 0.0);
    let is_exact =
        |dtype: &Dtype, mut values: std::slice::Iter<f64>| values.all(|v| dtype.round(*v) == *v);
    // Numbers of bf16 that f16 has too are many, the other way round they are not.
    let dtype = *narrower
        .iter()
        .find(|dtype| values().all(|a| dtype.round(a) == a))?;
    // Counts are exact in any type.
    let fractions = values().filter(|a| a.fract() != 0.0);
    let mut distinct: Vec<u64> = fractions.map(|a| a.abs().to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    // A bug may well give nothing but entries of the weight, which is allowed to have fewer bits.
    if distinct.len() < LEAST
        || pair.storage > 0.0
        || is_exact(&dtype, evidence.layer.weight.iter())
    {
        return None;
    }
    let u = dtype.unit_roundoff();
    // Rounded at the end, or at every step on the way.
    let stored = pair.stored_in(dtype);
    let allowed = evidence.allowed(&evidence.layer, &cross_entropy, &pair.g, dtype);
    let mut computed = pair.against(pair.g.clone(), allowed);
    computed.dtype = dtype;
    let remainder = pair.fit(1.0).remainder;
    let more = if dtype == Dtype::F32 {
        MORE_IN_F32
    } else {
        MORE
    };
    let is_more = remainder > more * u;
    let name = evidence.name();
    let zeros = pair
        .live()
        .filter(|(_, a, g, _)| *a == 0.0 && *g != 0.0)
        .count();
    let flushed = match (dtype, zeros) {
        (Dtype::F16, 1..) => {
            format!(", and {zeros} entries below f16's smallest number became zero")
        }
        _ => String::new(),
    };
    let code = match dtype {
        Dtype::F32 => Code::SinglePrecision,
        _ => Code::HalfPrecision,
    };
    Some(
        Hypothesis::new(
            code,
            stored,
            format!("allowing for the rounding to {dtype}"),
            format!("{name} is stored as {} but every number in it is exactly one of {dtype}: it went through {dtype} on its way{flushed}", pair.dtype),
            format!("save the gradient in the type that it was computed in, {dtype}, and what its rounding explains is allowed for; if {dtype} is not meant, look for torch.autocast, model.half(), .to() or a {dtype} parameter"),
        )
        .or_else(Fallback {
            after: computed,
            correction: format!("allowing for the rounding to {dtype} at every step"),
            // Rounding at every step makes errors of some size seldom, a second cause easily.
            confidence: if is_more { 0.6 } else { 0.95 },
            besides: if is_more { format!("; it is off by {} of itself, more than that mostly makes, so look for a second cause", number(remainder)) } else { String::new() },
        })
        .evidence("unit roundoff", u)
        .evidence("remainder", remainder)
        .evidence("zeros", zeros as f64),
    )
}
