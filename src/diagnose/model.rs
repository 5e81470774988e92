//! Whether a gradient is that of another model, up to one factor.

use super::{
    columns_permuted,
    evidence::{Evidence, Layer, Model},
    pair::Pair,
    rows_permuted,
};
use crate::loss::compensated_sum;

/// Below it two gradients are not worth a closer look: rounding, or a few entries that were taken out, leave more than that.
const LEAST_COSINE: f64 = 0.8;
/// Entries that two factors are fitted to.
const LEAST_ENTRIES: usize = 6;
/// Steps of Gauss and Newton.
const STEPS: usize = 12;

impl Evidence<'_> {
    /// The pair against what `model` over `layer` gives, if that leaves nothing, or nothing but one factor.
    pub(super) fn explains(&self, pair: &Pair, layer: &Layer, model: &Model) -> Option<Pair> {
        let g = self.predict(layer, model);
        if !self.any_order && !(pair.cosine_with(&g).abs() >= LEAST_COSINE) {
            return None;
        }
        let allowed = self.allowed(layer, model, &g, pair.dtype);
        let after = pair.against(g, allowed);
        let explains =
            |after: &Pair| after.is_informative() && (after.is_explained() || after.is_scaled());
        let explained = if !self.any_order {
            explains(&after)
        } else {
            [columns_permuted::rule, rows_permuted::rule]
                .into_iter()
                .take(if self.is_whole() { 2 } else { 1 })
                .filter_map(|rule| rule(self, &after))
                .any(|it| explains(&it.after))
        };
        explained.then_some(after)
    }
}

/// a = alpha·g + beta·h by least squares over the entries of a pair that are live, g the pair's or another.
pub(super) struct Regression {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// How much of what alpha·g alone leaves is explained by h, 0 to 1.
    pub(super) share: f64,
}

/// None where g and h point the same way, or entries are few.
pub(super) fn regress(pair: &Pair, g: &[f64], h: &[f64]) -> Option<Regression> {
    // Two factors make two numbers, whatever they are.
    if pair.live().count() < LEAST_ENTRIES {
        return None;
    }
    // Of a, g and h; in f64 an entry may show what plain sums lose.
    let sum = |product: fn(f64, f64, f64) -> f64| {
        compensated_sum(
            pair.live()
                .map(|(entry, a, ..)| product(a, g[entry], h[entry])),
        )
    };
    let (gg, gh, hh) = (
        sum(|_, g, _| g * g),
        sum(|_, g, h| g * h),
        sum(|_, _, h| h * h),
    );
    let (ag, ah) = (sum(|a, g, _| a * g), sum(|a, _, h| a * h));
    let determinant = gg * hh - gh * gh;
    if !(determinant > 1e-10 * gg * hh) {
        return None;
    }
    let (alpha, beta) = (
        (ag * hh - ah * gh) / determinant,
        (ah * gg - ag * gh) / determinant,
    );
    let (mut left, mut alone) = (0.0, 0.0);
    for (entry, a, ..) in pair.live() {
        left += (a - alpha * g[entry] - beta * h[entry]).powi(2);
        alone += (a - ag / gg * g[entry]).powi(2);
    }
    Some(Regression {
        alpha,
        beta,
        share: 1.0 - left / alone,
    })
}

/// The parameter at which `predict` is nearest to a, up to one factor, by Gauss and Newton from a start that is near.
pub(super) fn refine(
    pair: &Pair,
    start: f64,
    step: f64,
    mut predict: impl FnMut(f64) -> Vec<f64>,
) -> Option<f64> {
    let mut parameter = start;
    for _ in 0..STEPS {
        let here = predict(parameter);
        let there = predict(parameter + step);
        let slope: Vec<f64> = there
            .iter()
            .zip(&here)
            .map(|(t, h)| (t - h) / step)
            .collect();
        let Regression { alpha, beta, .. } = regress(pair, &here, &slope)?;
        let move_by = beta / alpha;
        if !move_by.is_finite() {
            return None;
        }
        parameter += move_by;
        if move_by.abs() <= 1e-14 * parameter.abs() {
            break;
        }
    }
    Some(parameter)
}
