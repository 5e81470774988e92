//! Random problems, in the plain form and in all others.

use std::collections::HashMap;

use gradprobe::tensor::Dtype;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::file::{Array, File, Form};
use crate::{framework::tensor, problems::normal};

/// Sizes, a type and the options of a problem.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) batch: usize,
    pub(super) sequence: usize,
    pub(super) d: [usize; 3],
    pub(super) k: usize,
    pub(super) dtype: Dtype,
    /// Weights of the samples, some of them negative or 0.
    pub(super) is_weighted: bool,
    pub(super) normalizer: Option<f64>,
}

impl Case {
    pub(super) fn n(&self) -> usize {
        self.batch * self.sequence
    }

    pub(super) fn d(&self) -> usize {
        self.d.iter().product()
    }

    /// Returns the plain form, with gradients by the closed form in f64.
    pub(super) fn file(&self) -> File {
        let (n, d, k) = (self.n(), self.d(), self.k);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = |count| {
            let values = normal(&mut rng, count, 1.0);
            tensor(self.dtype, &[count], &values).values::<f64>()
        };
        let (x, w, b) = (draw(n * d), draw(k * d), draw(k));
        let mut weights = draw(n);
        weights[0] = 0.0;
        let target: Vec<f64> = (0..n).map(|_| rng.random_range(0..k) as f64).collect();
        let z = |j: usize, c: usize| {
            let terms = (0..d).map(|i| x[j * d + i] * w[c * d + i]);
            terms.sum::<f64>() + b[c]
        };
        let logits: Vec<f64> = (0..n * k).map(|e| z(e / k, e % k)).collect();
        let logits = tensor(self.dtype, &[n * k], &logits).values::<f64>();
        let divisor = match (self.normalizer, self.is_weighted) {
            (Some(normalizer), _) => normalizer,
            // Weights are an upstream gradient, so the default is the sum.
            (None, true) => 1.0,
            (None, false) => n as f64,
        };
        // With given logits the gradient is taken at their rounded values.
        let residual = |z: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let entry = |e: usize| {
                let (j, c) = (e / k, e % k);
                let sum: f64 = (0..k).map(|other| (z(j, other) - z(j, c)).exp()).sum();
                let hard = f64::from(u8::from(target[j] == c as f64));
                let weight = if self.is_weighted { weights[j] } else { 1.0 };
                weight * (1.0 / sum - hard) / divisor
            };
            (0..n * k).map(entry).collect()
        };
        let g = residual(&z);
        let of_given = residual(&|j, c| logits[j * k + c]);
        let sum = |count: usize, term: &dyn Fn(usize) -> f64| (0..count).map(term).sum::<f64>();
        let of_input = (0..n * d).map(|e| sum(k, &|c| g[e / d * k + c] * w[c * d + e % d]));
        let of_weight = (0..k * d).map(|e| sum(n, &|j| g[j * k + e / d] * x[j * d + e % d]));
        let of_bias = (0..k).map(|c| sum(n, &|j| g[j * k + c]));
        let mut arrays = HashMap::from([
            ("input", Array::new(&[n, d], x.clone())),
            ("weight", Array::new(&[k, d], w.clone())),
            ("bias", Array::new(&[k], b.clone())),
            (
                "target",
                Array {
                    is_whole: true,
                    ..Array::new(&[n], target.clone())
                },
            ),
            ("grad", Array::new(&[n, d], of_input.collect())),
            ("grad_logits", Array::new(&[n, k], g.clone())),
            ("grad_weight", Array::new(&[k, d], of_weight.collect())),
            ("grad_bias", Array::new(&[k], of_bias.collect())),
            ("logits", Array::new(&[n, k], logits.clone())),
            ("grad_of_given", Array::new(&[n, k], of_given)),
        ]);
        if self.is_weighted {
            arrays.insert("sample_weight", Array::new(&[n], weights.clone()));
        }
        let normalizer = self.normalizer.iter();
        let normalizer = normalizer.map(|it| ("normalizer".to_owned(), it.to_string()));
        File {
            dtype: self.dtype,
            arrays,
            metadata: normalizer.collect(),
        }
    }

    /// Returns the plain file of a layer, and that of given logits.
    pub(super) fn plain(&self) -> [File; 2] {
        let file = self.file();
        let layer = file.without(&["logits", "grad_of_given"]);
        let mut logits = file.without(&[
            "input",
            "weight",
            "bias",
            "grad",
            "grad_weight",
            "grad_bias",
            "grad_of_given",
        ]);
        let gradient = file.arrays["grad_of_given"].clone();
        logits.arrays.insert("grad_logits", gradient);
        [layer, logits]
    }

    /// Drops the form of the samples' weights, if they have none.
    fn present<'a>(&self, mut forms: Vec<Form<'a>>) -> Vec<Form<'a>> {
        forms.retain(|(name, _)| self.is_weighted || *name != "sample_weight");
        forms
    }

    /// Returns a plain file and the same arrays in each of the forms that it may have.
    pub(super) fn forms(&self) -> Vec<(&'static str, File, File)> {
        let (batch, sequence, d, k) = (self.batch, self.sequence, self.d(), self.k);
        let [layer, logits] = self.plain();
        let to = |shape: &[usize]| {
            let shape = shape.to_vec();
            move |array: &Array| array.reshaped(&shape)
        };
        let transposed = |array: &Array| array.permuted(&[1, 0]);
        let (of_rows, of_columns) = (to(&[batch, sequence, d]), to(&[batch, sequence, k]));
        let of_samples = to(&[batch, sequence]);
        let [a, b, c] = self.d;
        let images = to(&[batch * sequence, a, b, c]);
        let on_axis_1 = |array: &Array| of_columns(array).permuted(&[0, 2, 1]);
        let sequences = self.present(vec![
            ("input", &of_rows),
            ("grad", &of_rows),
            ("grad_logits", &of_columns),
            ("target", &of_samples),
            ("sample_weight", &of_samples),
        ]);
        let flat_targets = vec![("input", sequences[0].1), ("grad", sequences[0].1)];
        let of_logits = self.present(vec![
            ("logits", &on_axis_1),
            ("grad_logits", &on_axis_1),
            ("target", &of_samples),
            ("sample_weight", &of_samples),
        ]);
        let last_axis = self.present(vec![
            ("logits", &of_columns),
            ("grad_logits", &of_columns),
            ("target", &of_samples),
            ("sample_weight", &of_samples),
        ]);
        let mut forms = vec![
            ("sequences", layer.clone(), layer.with(&sequences)),
            ("flat targets", layer.clone(), layer.with(&flat_targets)),
            (
                "images",
                layer.clone(),
                layer.with(&[("input", &images), ("grad", &images)]),
            ),
            (
                "bias [1, k]",
                layer.clone(),
                layer.with(&[("bias", &to(&[1, k])), ("grad_bias", &to(&[1, k]))]),
            ),
            (
                "bias [k, 1]",
                layer.clone(),
                layer.with(&[("bias", &to(&[k, 1])), ("grad_bias", &to(&[k, 1]))]),
            ),
            ("logits on axis 1", logits.clone(), logits.with(&of_logits)),
        ];
        let mut dk = layer.with(&[("weight", &transposed), ("grad_weight", &transposed)]);
        if k == d {
            let setting = ("weight-layout".to_owned(), "dk".to_owned());
            dk.metadata.extend([setting]);
        }
        forms.push(("weight [d, k]", layer, dk));
        // If both axes fit, PyTorch's is taken.
        if sequence != k {
            forms.push((
                "logits on the last axis",
                logits.clone(),
                logits.with(&last_axis),
            ));
        }
        forms
    }
}
