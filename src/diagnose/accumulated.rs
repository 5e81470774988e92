//! `accumulated`: several backward passes summed in one buffer.

use crate::report::{CheckReport, Finding, Tally};

/// Above this, what remains after scaling is not the drift of slowly moving weights (measured up to 0.07).
const LARGEST_REMAINDER: f64 = 0.08;
/// How far from an integer the factor may be, relative to it: the weights moved between the passes.
const LARGEST_DRIFT: f64 = 0.1;

/// The gradient is close to an integer K >= 2 times the numeric one, direction unchanged.
pub(super) fn rule(check: &CheckReport) -> Option<Finding> {
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
    Some(Finding {
        code: "accumulated",
        factor: Some(factor),
        confidence,
        message: format!(
            "{name} is {about} times the derivative and points the same way: it looks like the sum of {passes:.0} backward passes"
        ),
        fix: format!(
            "clear the tensor's own gradient before each backward pass ({} = None); optimizer.zero_grad() clears the parameters' gradients only",
            match check.wrt {
                crate::problem::Wrt::Input => "x.grad",
                crate::problem::Wrt::Logits => "logits.grad",
            }
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
        let aa = tally.analytic_analytic.value();
        let ag = tally.analytic_numeric.value();
        let gg = tally.numeric_numeric.value();
        let all_finite = tally.not_finite == 0 && aa > 0.0 && gg > 0.0;
        all_finite.then(|| Self {
            factor: ag / gg,
            remainder: (1.0 - ag / aa * (ag / gg)).max(0.0).sqrt(),
        })
    }
}
