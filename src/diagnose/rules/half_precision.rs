//! `half-precision`: every value is one that f16 or bf16 holds; `single-precision`: one that f32
//! holds, in a gradient of f64.

use crate::{
    diagnose::{
        evidence::Evidence,
        hypothesis::{Fallback, Hypothesis},
        losses::cross_entropy,
        pair::Pair,
        words::{Words, number},
    },
    report::Code,
    tensor::Dtype,
};

/// Remainder that rounding at every step leaves, in units of roundoff; measured at 0.2 to 2.
const MORE: f64 = 3.0;
/// The same in f32, where sums are as narrow as their terms. Chosen.
const MORE_IN_F32: f64 = 30.0;
/// Least number of distinct fractions: a few, such as 0.5, fit a narrower type by chance. Chosen.
const LEAST: usize = 6;

pub(super) fn rule(evidence: &Evidence, pair: &Pair) -> Option<Hypothesis> {
    let dtype = narrower_type(pair)?;
    let is_exact = |value: &f64| dtype.round(*value) == *value;
    // A wrong gradient may consist of entries of the weight, which may be narrower themselves.
    let weight = &evidence.layer.weight;
    let of_weight = !weight.is_empty() && weight.iter().all(is_exact);
    if distinct_fractions(pair) < LEAST || pair.storage > 0.0 || of_weight {
        return None;
    }
    let u = dtype.unit_roundoff();
    let remainder = pair.fit(1.0).remainder;
    let zeros = pair.live().filter(|it| it.a == 0.0 && it.g != 0.0).count();
    let code = match dtype {
        Dtype::F32 => Code::SinglePrecision,
        _ => Code::HalfPrecision,
    };
    let words = words(evidence, pair.dtype, dtype, zeros);
    Some(
        Hypothesis::new(code, pair.stored_in(dtype), words)
            .or_else(rounded_at_every_step(evidence, pair, dtype, remainder))
            .evidence("unit roundoff", u)
            .evidence("remainder", remainder)
            .evidence("zeros", zeros as f64),
    )
}

/// Returns the first type narrower than the gradient's that holds all of its values. f16 comes
/// after bf16: it holds many values of bf16, but bf16 holds few of f16.
fn narrower_type(pair: &Pair) -> Option<Dtype> {
    let narrower: &[Dtype] = match pair.dtype {
        Dtype::F64 => &[Dtype::BF16, Dtype::F16, Dtype::F32],
        Dtype::F32 => &[Dtype::BF16, Dtype::F16],
        _ => return None,
    };
    let holds_all = |dtype: &&Dtype| {
        let mut values = pair.live().map(|it| it.a).filter(|a| *a != 0.0);
        values.all(|a| dtype.round(a) == a)
    };
    narrower.iter().find(holds_all).copied()
}

/// Returns the number of distinct magnitudes with a fraction: integers are exact in any type.
fn distinct_fractions(pair: &Pair) -> usize {
    let fractions = pair.live().map(|it| it.a).filter(|a| a.fract() != 0.0);
    let mut distinct: Vec<u64> = fractions.map(|a| a.abs().to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len()
}

/// Returns the weaker form of the cause: rounding at every step, not only at the end.
fn rounded_at_every_step(
    evidence: &Evidence,
    pair: &Pair,
    dtype: Dtype,
    remainder: f64,
) -> Fallback {
    let allowed = evidence.allowed(&evidence.layer, &cross_entropy, &pair.g, dtype);
    let mut after = pair.against(pair.g.clone(), allowed);
    after.dtype = dtype;
    let usual = match dtype {
        Dtype::F32 => MORE_IN_F32,
        _ => MORE,
    };
    let is_more = remainder > usual * dtype.unit_roundoff();
    Fallback {
        after,
        correction: format!("allowing for the rounding to {dtype} at every step"),
        // Rounding at every step seldom leaves large errors; a second cause easily does.
        confidence: if is_more { 0.6 } else { 0.95 },
        addition: if is_more {
            format!(
                "; it is off by {} of its norm, more than that usually causes, so look for a \
                 second cause",
                number(remainder)
            )
        } else {
            String::new()
        },
    }
}

fn words(evidence: &Evidence, wide: Dtype, dtype: Dtype, zeros: usize) -> Words {
    let name = evidence.name();
    let flushed = match (dtype, zeros) {
        (Dtype::F16, 1..) => {
            format!(", and {zeros} entries below f16's smallest number became zero")
        }
        _ => String::new(),
    };
    let cast = match dtype {
        Dtype::BF16 => ".bfloat16()",
        Dtype::F16 => ".half()",
        _ => ".float()",
    };
    Words {
        message: format!(
            "{name} is stored as {wide}, but {dtype} holds every value in it exactly: it passed \
             through {dtype}{flushed}"
        ),
        correction: format!("allowing for the rounding to {dtype}"),
        fix: format!(
            "if {dtype} is intended, as under torch.autocast, pass --computed-in {dtype} \
             (computed_in in the file) or save the gradient with {cast}, which loses nothing, so \
             that its rounding is allowed for; if not, look for torch.autocast, model.half(), \
             .to() or a {dtype} parameter"
        ),
        ..Words::default()
    }
}
