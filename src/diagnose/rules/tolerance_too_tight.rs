//! `tolerance-too-tight`: a tolerance that rounding alone exceeds.
//!
//! The bounds of a type hold for every program, so they are wide: a gradient within them may still
//! have errors that rounding does not usually leave. The right gradient is therefore computed again
//! with the rounding of the type, and the errors of the two are compared.

use crate::{
    diagnose::{
        evidence::Evidence,
        losses::Datum,
        pair::Pair,
        words::{number, significant},
    },
    report::{Code, Comparison, Finding},
    tensor::Dtype,
};

/// Largest error relative to that of the gradient computed here, in half precision. Chosen:
/// programs round at different places.
const MOST_IN_HALF: f64 = 4.0;
/// The same in f32 and f64, where the order of sums matters too.
const MOST_IN_WIDE: f64 = 16.0;

/// Name of the number that a finding on such errors has.
const TIMES_ROUNDING: &str = "times rounding";

/// Returns true if a finding is on errors that rounding could leave, but usually does not.
pub(in crate::diagnose) fn is_beyond_rounding(finding: &Finding) -> bool {
    let mut names = finding.evidence.iter().map(|(name, _)| name);
    names.any(|name| name == TIMES_ROUNDING)
}

/// The errors of a gradient that misses a given tolerance and stays within the bounds of rounding.
pub(in crate::diagnose) struct Missed {
    /// |a - g| / |g|.
    error: f64,
    /// The error over that of a right gradient, computed in the same type.
    ratio: f64,
}

impl Missed {
    /// Returns the errors, or `None` if no tolerance is given or rounding excludes them.
    pub(in crate::diagnose) fn new(evidence: &Evidence, pair: &Pair) -> Option<Self> {
        let given = evidence.check.tolerance.given?;
        let is_possible = pair.without_given(given).is_explained();
        if evidence.check.tally.counts.wrong == 0 || !is_possible {
            return None;
        }
        let error = pair.fit(1.0).remainder;
        let rounded = pair.with(rounded(evidence)).fit(1.0).remainder;
        let terms = evidence.problem.terms(evidence.wrt) as f64;
        let summed = terms.sqrt() * summed_in(pair.dtype).unit_roundoff();
        Some(Self {
            error,
            ratio: error / rounded.hypot(summed),
        })
    }

    /// Returns true if rounding usually leaves such errors.
    pub(in crate::diagnose) fn is_rounding(&self, dtype: Dtype) -> bool {
        let most = if dtype.is_half() {
            MOST_IN_HALF
        } else {
            MOST_IN_WIDE
        };
        self.ratio <= most
    }

    /// Returns the finding for errors that rounding usually leaves.
    pub(in crate::diagnose) fn too_tight(&self, check: &Comparison) -> Finding {
        let (name, dtype) = (check.wrt.grad_name(), check.dtype);
        let given = check.tolerance.given.unwrap_or_default();
        let message = format!(
            "{name} misses the tolerance by no more than the rounding of {dtype} explains: a right \
             gradient, computed in {dtype}, is as far off"
        );
        let fix = format!(
            "omit --rtol and --atol, so that each entry may be off by its own rounding, or compute \
             the gradient in a wider type (the largest relative error here is {})",
            number(check.tally.rel_err.max)
        );
        Finding {
            confidence: 0.95,
            evidence: vec![("rtol".into(), given.rtol), ("atol".into(), given.atol)],
            ..Finding::new(Code::ToleranceTooTight, message, fix)
        }
    }

    /// Completes an `unknown` finding for errors that rounding could leave, but usually does not.
    pub(in crate::diagnose) fn describe(&self, check: &Comparison, unknown: &mut Finding) {
        let (name, dtype) = (check.wrt.grad_name(), check.dtype);
        let (error, ratio) = (significant(self.error), significant(self.ratio));
        unknown.message = format!(
            "{name} misses the tolerance: its relative error is {error}, {ratio} times that of a \
             right gradient computed in {dtype}; no cause in the catalogue explains it"
        );
        unknown.fix = format!(
            "look for sums over samples, chunks or steps that are accumulated in {dtype}, and \
             accumulate them in a wider type; or for noise that is added on purpose"
        );
        unknown.evidence.push((TIMES_ROUNDING.into(), self.ratio));
    }
}

/// Returns the type of sums over terms of another type.
fn summed_in(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F64 {
        Dtype::F64
    } else {
        Dtype::F32
    }
}

/// Returns the right gradient, with logits, log-softmax, their derivative and the result rounded to
/// the gradient's type.
fn rounded(evidence: &Evidence) -> Vec<f64> {
    let (dtype, normalizer) = (evidence.check.dtype, evidence.problem.normalizer());
    let loss = |sample: &Datum, soft: &mut [f64], _: &mut [f64]| {
        let logits = sample.logits.iter().map(|z| dtype.round(*z));
        let logits: Vec<f64> = logits.collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        let entries = soft.iter_mut().zip(logits).zip(sample.target);
        entries.for_each(|((soft, z), target)| {
            let p = dtype.round(z - largest - sum.ln()).exp();
            *soft = normalizer * dtype.round((sample.total * p - target) / normalizer);
        });
    };
    let values = evidence.predict(&evidence.layer, &loss);
    values.into_iter().map(|value| dtype.round(value)).collect()
}
