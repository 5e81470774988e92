//! Comparison of a pair with the gradient of another loss or layer.

use super::{
    evidence::Evidence,
    layer::Layer,
    losses::LossDerivative,
    pair::Pair,
    reordering::{self, Reordered},
};

/// Cosine below which the bounds of another gradient are not computed. Chosen: between a gradient
/// and its rounded copy, even with a few entries masked, the cosine is larger.
const LEAST_COSINE: f64 = 0.8;

impl Evidence<'_> {
    /// Returns the pair against the gradient of `loss` over `layer`. Returns `None` if that leaves
    /// errors other than one factor.
    pub(super) fn explains(
        &self,
        pair: &Pair,
        layer: &Layer,
        loss: &LossDerivative,
    ) -> Option<Pair> {
        let g = self.predict(layer, loss);
        if !self.any_order && !(pair.cosine_with(&g).abs() >= LEAST_COSINE) {
            return None;
        }
        let allowed = self.allowed(layer, loss, &g, pair.dtype);
        let after = pair.against(g, allowed);
        let is_right = |it: Reordered| it.after.leaves_one_factor();
        let is_explained = if self.any_order {
            reordering::columns(&after).is_some_and(is_right)
                || (self.is_whole() && reordering::rows(self, &after).is_some_and(is_right))
        } else {
            after.leaves_one_factor()
        };
        is_explained.then_some(after)
    }
}
