//! Change of the gradient along a step of gradient descent. Optimizer steps between two passes
//! leave this change in their gradients.

use super::{
    evidence::Evidence,
    layer::Descent,
    least_squares::{Regression, regress},
    losses::cross_entropy,
    pair::Pair,
};

/// Range of the explained share of the errors in which dL/dW over a draw of the samples is not
/// accurate enough. Below the range, dL/dW over all samples explains nothing either; above it, the
/// draw suffices. Chosen.
const UNCLEAR_SHARES: std::ops::Range<f64> = 0.2..0.98;
/// Step of the finite difference along dL/dW, relative to the weights. Chosen.
const STEP: f64 = 1e-4;

impl Evidence<'_> {
    /// Fits a as a combination of g and the slope of the descent. If there are many samples, first
    /// tries a draw of them. Returns `None` if the loss is flat or there are too few entries.
    pub(super) fn descent_in(&self, pair: &Pair) -> Option<(&Descent, Regression)> {
        let descent = self.descent(true)?;
        let fit = regress(pair, &pair.g, &descent.slope)?;
        if !UNCLEAR_SHARES.contains(&fit.share) || self.draws_are_all() {
            return Some((descent, fit));
        }
        let descent = self.descent(false)?;
        Some((descent, regress(pair, &pair.g, &descent.slope)?))
    }

    /// Returns the descent over a draw of the samples for a first look, or over all of them. Each
    /// is computed once.
    fn descent(&self, first_look: bool) -> Option<&Descent> {
        let descent = || descent(self, &self.samples(first_look));
        self.descents[usize::from(first_look)]
            .get_or_init(descent)
            .as_ref()
    }
}

/// Returns `None` if there is no layer, or the loss is flat.
fn descent(evidence: &Evidence, samples: &[usize]) -> Option<Descent> {
    if evidence.problem.is_of_logits() {
        return None;
    }
    let direction = evidence.layer_gradient(&evidence.layer, samples);
    let step = STEP * evidence.layer.norm() / direction.norm();
    if !step.is_finite() {
        return None;
    }
    let at = |step| evidence.predict(&evidence.layer.stepped(&direction, step), &cross_entropy);
    let both = at(step).into_iter().zip(at(-step));
    let slope = both
        .map(|(ahead, behind)| (ahead - behind) / (2.0 * step))
        .collect();
    Some(Descent { direction, slope })
}
