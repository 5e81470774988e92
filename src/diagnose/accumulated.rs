//! `accumulated`: several backward passes summed in one buffer.

use crate::{
    problem::Wrt,
    report::{CheckReport, Finding, Tally},
};

/// Above this, what remains after scaling is not the drift of slowly moving weights (measured up to 0.07).
const LARGEST_REMAINDER: f64 = 0.08;
/// How far from an integer the factor may be, relative to it: the weights moved between the passes.
const LARGEST_DRIFT: f64 = 0.1;

/// The gradient is close to an integer K >= 2 times the numeric one, direction unchanged.
pub(super) fn rule(check: &CheckReport, normalizer: f64) -> Option<Finding> {
    let Scale { factor, remainder } = Scale::of(&check.tally)?;
    let passes = factor.round();
    if !(passes >= 2.0
        && remainder <= LARGEST_REMAINDER
        && (factor / passes - 1.0).abs() <= LARGEST_DRIFT)
    {
        return None;
    }
    let name = check.wrt.grad_name();
    let exact = (factor / passes - 1.0).abs() < 1e-4;
    // From 5 on every number is within 10 % of an integer: then only an exact one speaks for a count.
    let confidence = match (exact, passes <= 4.0) {
        (true, _) => 0.8,
        (false, true) => 0.8,
        (false, false) => 0.7,
    };
    let about = if exact {
        format!("{passes:.0}")
    } else {
        format!("{factor:.2}")
    };
    let tensor = match check.wrt {
        Wrt::Input => "x",
        Wrt::Logits => "logits",
        Wrt::Weight => "layer.weight",
        Wrt::Bias => "layer.bias",
    };
    // The sum of n passes and the gradient of a sum over n samples are the same arrays.
    let (or, look) = if exact && passes == normalizer {
        (
            " or a sum over the samples where their mean was meant",
            "or see whether reduction is what you meant, ",
        )
    } else {
        ("", "")
    };
    let zero_grad = match check.wrt.is_parameter() {
        true => ", as optimizer.zero_grad() does for the parameters that it knows",
        false => "; optimizer.zero_grad() clears the parameters' gradients only",
    };
    Some(Finding {
        code: "accumulated",
        factor: Some(factor),
        confidence: if or.is_empty() { confidence } else { 0.5 },
        message: format!(
            "{name} is {about} times the derivative and points the same way: it looks like the sum of {passes:.0} backward passes{or}"
        ),
        fix: format!(
            "{look}clear the tensor's own gradient before each backward pass ({tensor}.grad = None){zero_grad}"
        ),
        evidence: vec![("scale", factor), ("remainder", remainder)],
    })
}

/// a = factor·g + remainder: one scale, and what it leaves.
struct Scale {
    /// <a,g> / <g,g>.
    factor: f64,
    /// |a - factor·g| / |a|.
    remainder: f64,
}

impl Scale {
    fn of(tally: &Tally) -> Option<Self> {
        let factor = tally.scale()?;
        let (aa, ag) = (
            tally.analytic_analytic.value(),
            tally.analytic_numeric.value(),
        );
        (aa > 0.0).then(|| Self {
            factor,
            remainder: (1.0 - ag / aa * factor).max(0.0).sqrt(),
        })
    }
}
