//! Bounds on the error of a correct gradient of any loss over any layer.
//!
//! They differ from the tolerance of [`rounding`](crate::rounding), which bounds the entries of the
//! declared loss:
//!
//! 1. `soft` need not be a softmax, so T is bounded by 2 (1 - |soft|) times the largest logit error
//!    of the sample, not by a sum over its classes.
//! 2. The other side is the closed form in f64, whose rounding replaces the noise.
//! 3. The user's tolerances are added to rounding and do not replace it: a prediction within
//!    rounding is a match, even if the user's tolerance is tighter.

use super::{Evidence, forward::Strip, predict::Terms};
use crate::{
    diagnose::{layer::Layer, losses::LossDerivative},
    rounding::{Given, RoundingModel, nonlinearity},
    tensor::Dtype,
};

impl Evidence<'_> {
    /// Returns the bounds on the errors of `values`, as predicted by [`Evidence::predict`] for this
    /// layer and loss, if they are computed in `dtype`.
    pub(in crate::diagnose) fn allowed(
        &self,
        layer: &Layer,
        loss: &LossDerivative,
        values: &[f64],
        dtype: Dtype,
    ) -> Vec<f64> {
        self.allowed_rows(&self.rows, layer, loss, values, dtype)
    }

    /// Returns the bounds on the errors of `values`, as predicted by [`Evidence::predict_rows`] for
    /// these rows, this layer and this loss, if they are computed in `dtype`.
    pub(in crate::diagnose) fn allowed_rows(
        &self,
        rows: &[usize],
        layer: &Layer,
        loss: &LossDerivative,
        values: &[f64],
        dtype: Dtype,
    ) -> Vec<f64> {
        let bounds = LogitBounds {
            model: RoundingModel::new(
                dtype,
                self.problem.terms(self.wrt),
                self.problem.equal_targets(),
            ),
            u: dtype.unit_roundoff(),
            normalizer: self.problem.normalizer(),
            classes: layer.bias.len(),
        };
        let of_strip = |strip: &Strip| bounds.of(strip);
        let rounding = self.product(rows, layer, loss, &of_strip, Terms::Magnitudes);
        let tolerance = self.check.tolerance;
        let Given { rtol, atol } = tolerance.given.unwrap_or_default();
        let entries = rounding.into_iter().zip(values);
        entries
            .map(|(rounding, value)| {
                rounding + (tolerance.drift + rtol) * value.abs() + tolerance.floor + atol
            })
            .collect()
    }
}

/// Bounds on the errors of a loss's derivative with respect to the logits.
struct LogitBounds {
    model: RoundingModel,
    /// Unit roundoff of the gradient's type.
    u: f64,
    normalizer: f64,
    classes: usize,
}

impl LogitBounds {
    /// Returns the bounds for a strip, [samples, k].
    ///
    /// 1. The logits of a sample are off by at most the largest logit error of its classes times u.
    /// 2. A softmax p is then off by at most 2 p (1 - p) times as much, because dp = p (dz - sum p
    ///    dz), and by |log p|·u, because frameworks store log p. If `soft` is no softmax, its
    ///    magnitude up to 1 stands for p.
    /// 3. Beyond that first-order bound, p grows by at most the nonlinearity.
    /// 4. `soft` and the difference `soft - hard` are rounded, as in S of [`RoundingModel`].
    ///
    /// The gradient's type is allowed twice the bound, the prediction in f64 once.
    fn of(&self, strip: &Strip) -> Vec<f64> {
        let (u, k) = (self.u, self.classes);
        let factor =
            2.0 * RoundingModel::LOGITS * u + RoundingModel::LOGITS * Dtype::F64.unit_roundoff();
        let mut bounds = Vec::with_capacity(strip.soft.len());
        let rows = strip.soft.chunks_exact(k).zip(strip.hard.chunks_exact(k));
        for ((soft, hard), logit_error) in rows.zip(self.logit_errors(strip)) {
            let nonlinearity = nonlinearity(u, logit_error);
            bounds.extend(soft.iter().zip(hard).map(|(&soft, &hard)| {
                let q = soft.abs().clamp(f64::MIN_POSITIVE, 1.0);
                let softness = soft.abs() * (2.0 * (1.0 - q).max(u) * logit_error - q.ln());
                let sums = self.model.sums * (soft.abs() + (soft - hard).abs());
                factor / self.normalizer * nonlinearity * (sums + softness)
            }));
        }
        bounds
    }

    /// Returns the largest logit error of each sample, in units of roundoff.
    fn logit_errors<'a>(&'a self, strip: &'a Strip) -> impl Iterator<Item = f64> + 'a {
        let logits = strip.logits.chunks_exact(self.classes);
        let magnitudes = strip.magnitude.chunks_exact(self.classes);
        logits.zip(magnitudes).map(|(z, a)| {
            let errors = z.iter().zip(a).map(|(&z, &a)| self.model.logit_error(z, a));
            errors.fold(0.0, f64::max)
        })
    }
}
