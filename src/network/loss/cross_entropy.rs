//! Cross-entropy of logits, and the negative log likelihood of log probabilities, with all options
//! of PyTorch's.

use std::ops::Range;

use super::{Loss, LossSpec};
use crate::{
    error::Result,
    loss::{self, IGNORE_INDEX, NO_LABEL, Reduction, Target},
    network::{
        arithmetic::{norm, quadrature},
        difference,
        layer::STEP,
        values::{At, Errors},
    },
    problem::read_target,
    tensor::Tensor,
};

struct CrossEntropy {
    options: loss::CrossEntropy,
    /// The target as the file holds it.
    given: Tensor,
    target: Target,
    classes: usize,
    /// Predictions of a sample: the axes between that of the samples and the classes.
    of_sample: usize,
    /// The upstream gradient of the losses: [n, 1] or [n, predictions].
    weight: Option<Tensor>,
    normalizer: f64,
    /// False if the output holds log probabilities.
    is_of_logits: bool,
}

pub(super) fn cross_entropy(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    let label_smoothing = spec.settings.number("label_smoothing", 0.0)?;
    new(spec, label_smoothing, true)
}

pub(super) fn nll_loss(spec: &mut LossSpec) -> Result<Box<dyn Loss>> {
    new(spec, 0.0, false)
}

fn new(spec: &mut LossSpec, label_smoothing: f64, is_of_logits: bool) -> Result<Box<dyn Loss>> {
    let ignore_index = spec.settings.number("ignore_index", IGNORE_INDEX as f64)? as i64;
    let reduction = match spec.reduction(&["mean", "sum"])? {
        "mean" => Reduction::Mean,
        _ => Reduction::Sum,
    };
    let Some((&classes, places)) = spec.shape.split_last() else {
        return Err(spec.failed("the output needs an axis of classes"));
    };
    let of_sample = places.iter().product::<usize>();
    let options = loss::CrossEntropy {
        reduction,
        class_weight: spec.optional("class_weight").map(Tensor::values),
        ignore_index,
        label_smoothing,
        normalizer: spec.given_normalizer()?,
    };
    options.validate(classes)?;
    let n = spec.n * of_sample;
    let given = flat(spec, classes)?;
    let target = read_target(&given, n, classes, &options)?;
    let normalizer = options.normalizer(&target, n);
    if normalizer <= 0.0 {
        return Err(spec.failed("the mean needs a sample that counts"));
    }
    Ok(Box::new(CrossEntropy {
        options,
        given,
        target,
        classes,
        of_sample,
        weight: spec.sample_weight(places)?,
        normalizer,
        is_of_logits,
    }))
}

/// Returns the target with one row for each prediction: classes [n, ...] or probabilities
/// [n, ..., k].
fn flat(spec: &LossSpec, classes: usize) -> Result<Tensor> {
    let target = spec.required("target")?;
    let (found, shape) = (target.shape(), [&[spec.n], spec.shape].concat());
    let rows: usize = shape[..shape.len() - 1].iter().product();
    if found == shape {
        return Ok(target.reshaped(&[rows, classes]));
    }
    if found == &shape[..shape.len() - 1] {
        return Ok(target.reshaped(&[rows]));
    }
    // The reader names what it takes.
    Ok(target.clone())
}

impl CrossEntropy {
    /// Returns r [predictions, k], the weights of the classes, and R `[predictions]`, their sums,
    /// for a range of samples.
    fn weights(&self, samples: Range<usize>) -> (Vec<f64>, Vec<f64>) {
        let k = self.classes;
        let rows = samples.start * self.of_sample..samples.end * self.of_sample;
        let targets = self
            .options
            .target_rows::<f64>(&self.target, rows.clone(), k);
        let mut weights = vec![0.0; rows.len() * k];
        for (row, &label) in targets.labels.iter().enumerate() {
            if label != NO_LABEL {
                weights[row * k + label as usize] = targets.totals[row];
            }
        }
        if let Some(linear) = &targets.linear {
            weights
                .iter_mut()
                .zip(linear)
                .for_each(|(weight, linear)| *weight -= linear);
        }
        let mut totals = targets.totals;
        if let Some(weight) = &self.weight {
            let (factors, columns) = (weight.rows::<f64>(samples), weight.columns());
            for (row, total) in totals.iter_mut().enumerate() {
                let (sample, place) = (row / self.of_sample, row % self.of_sample);
                let factor = factors[sample * columns + place % columns];
                *total *= factor;
                weights[row * k..(row + 1) * k]
                    .iter_mut()
                    .for_each(|weight| *weight *= factor);
            }
        }
        (weights, totals)
    }
}

impl Loss for CrossEntropy {
    fn normalizer(&self) -> f64 {
        self.normalizer
    }

    fn cross_entropy(&self) -> Option<(&loss::CrossEntropy, &Tensor)> {
        let is_plain = self.is_of_logits && self.of_sample == 1 && self.weight.is_none();
        is_plain.then_some((&self.options, &self.given))
    }

    fn difference(&self, rows: Range<usize>, y: &[f64], d: &[f64]) -> Vec<f64> {
        let k = self.classes;
        // Every weight is of one log probability, so their sum is not needed.
        let (weights, _) = self.weights(rows);
        let mut of_log = vec![0.0; k];
        let row = |row: usize| {
            let here = row * k..(row + 1) * k;
            let (r, d) = (&weights[here.clone()], &d[here.clone()]);
            if self.is_of_logits {
                difference::of_log_softmax(&y[here], d, &mut of_log);
            } else {
                of_log.copy_from_slice(d);
            }
            -r.iter().zip(&of_log).map(|(r, d)| r * d).sum::<f64>() / self.normalizer
        };
        let losses: Vec<f64> = (0..y.len() / k).map(row).collect();
        losses
            .chunks(self.of_sample)
            .map(|of_sample| of_sample.iter().sum())
            .collect()
    }

    fn pull(&self, rows: Range<usize>, at: &At, gy: &mut [f64], errors: &mut Errors) {
        let (k, z) = (self.classes, at.inputs[0]);
        let (weights, totals) = self.weights(rows);
        let scale = 1.0 / self.normalizer;
        let mut p = vec![0.0; k];
        // It lies between 0 and 1.
        let most_of_p = 1.0 / at.arithmetic.u;
        for (row, total) in totals.iter().enumerate() {
            let here = row * k..(row + 1) * k;
            let r = &weights[here.clone()];
            if !self.is_of_logits {
                for c in 0..k {
                    gy[here.start + c] = -r[c] * scale;
                    errors.smooth[here.start + c] = 2.0 * at.arithmetic.of_result(r[c] * scale);
                }
                continue;
            }
            let of_z = &at.of_inputs[0].smooth[here.clone()];
            let most = difference::softmax(&z[here.clone()], &mut p);
            let others: f64 = (0..k).filter(|&c| c != most).map(|c| p[c]).sum();
            let all = norm(p.iter().zip(of_z).map(|(p, error)| p * error));
            let largest = of_z.iter().fold(0.0f64, |a, b| a.max(*b));
            let grown = at.arithmetic.nonlinearity(largest);
            let size = total.abs();
            for c in 0..k {
                // Along z_c, logsumexp changes by log(1 + p_c (exp(d) - 1)): if p_c is near 1, by d
                // and a small rest.
                let side = |d: f64| {
                    if p[c] > 0.5 {
                        (total - r[c]) * d + total * (others * (-d).exp_m1()).ln_1p()
                    } else {
                        total * (p[c] * d.exp_m1()).ln_1p() - r[c] * d
                    }
                };
                let g = (side(STEP) - side(-STEP)) / (2.0 * STEP);
                let log = p[c].max(f64::MIN_POSITIVE).ln().abs();
                let error = quadrature([
                    size * (grown * p[c] * (1.0 - p[c]) * of_z[c]).min(most_of_p),
                    size * (grown * p[c] * all).min(most_of_p),
                    size * p[c] * (1.0 + log),
                    g,
                    r[c] * p[c],
                    at.arithmetic.of_result(g),
                ]);
                gy[here.start + c] = g * scale;
                errors.smooth[here.start + c] =
                    quadrature([error * scale, at.arithmetic.of_result(g * scale)]);
            }
        }
    }
}
