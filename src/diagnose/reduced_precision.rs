//! `reduced-precision-matmul`: products of operands with fewer bits. Not a bug, and worth knowing.

use super::{
    case::Case,
    errors::Errors,
    evidence::{Evidence, cross_entropy},
    hypothesis::Hypothesis,
};
use crate::tensor::Dtype;

/// A format that matrix units round their operands to: its name, its unit roundoff, and how to do without.
const FORMATS: [(&str, f64, &str); 2] = [
    (
        "TF32",
        1.0 / 2048.0,
        "torch.set_float32_matmul_precision('highest') (torch.backends.cuda.matmul.allow_tf32 = False), jax.default_matmul_precision('highest')",
    ),
    (
        "bf16",
        1.0 / 256.0,
        "torch.set_float32_matmul_precision('highest'), jax.default_matmul_precision('highest'), no torch.autocast",
    ),
];
/// The least of what the format's rounding explains that errors have, root mean square: less is a smaller format's.
const LEAST: f64 = 1e-3;
/// The most that is left of g, in units of roundoff: measured at 0.4 to 4.4.
const LARGEST: f64 = 4.5;
/// The largest share of it that may lie along g: measured up to 0.7.
const LARGEST_ALONG: f64 = 0.75;
/// How much less likely an entry may be than if its error were noise, as a logarithm.
const LIKELY: f64 = 0.5;

pub(super) fn rule(evidence: &Evidence, case: &Case) -> Option<Hypothesis> {
    if case.dtype != Dtype::F32 {
        return None;
    }
    let units = evidence.allowed(&evidence.layer, &cross_entropy, &case.g, Dtype::F32);
    // A zero, such as an ignored row's, is exact in any format.
    let unit = |g: f64, unit: f64| if g == 0.0 { 0.0 } else { unit };
    let errors = Errors::of(case, |entry, g, _| unit(g, units[entry]))?;
    let alike = Errors::of(case, |_, g, _| unit(g, 1.0))?;
    let relative = Errors::of(case, |_, g, _| g.abs())?;
    let remainder = case.fit(1.0).remainder;
    let (format, u, how) = FORMATS.into_iter().find(|(_, u, _)| {
        let wider = u / Dtype::F32.unit_roundoff();
        errors.largest <= wider && errors.rms >= LEAST * wider && remainder <= LARGEST * u
    })?;
    // Noise that does not follow what the entries are made of is something else.
    let others = alike.likelihood.max(relative.likelihood);
    let entries = case.live().count() as f64;
    if errors.likelihood < others - LIKELY * entries
        || (case.scale() - 1.0).abs() > LARGEST_ALONG * remainder
    {
        return None;
    }
    let name = evidence.name();
    Some(
        Hypothesis::new(
            "reduced-precision-matmul",
            case.clone(),
            "",
            format!("{name} is right but for errors without a pattern, about as large as matrix products with {format} operands make: that is a setting, not a bug"),
            format!("ask for full precision ({how}), or check with --rtol {:.0e} --atol {:.0e} if it is meant", 8.0 * u, u * largest(case)),
        )
        .confidence(0.7)
        .weighing(if errors.likelihood > others { 2.0 } else { 0.5 })
        .evidence("unit roundoff", u)
        .evidence("remainder", remainder)
        .settling(),
    )
}

fn largest(case: &Case) -> f64 {
    case.g
        .iter()
        .fold(0.0f64, |largest, g| largest.max(g.abs()))
}
