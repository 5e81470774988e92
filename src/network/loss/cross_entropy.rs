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
    target: Target,
    classes: usize,
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
    let reduction = match spec.settings.word("reduction", &["mean", "sum"])? {
        "sum" => Reduction::Sum,
        _ => Reduction::Mean,
    };
    let (Some(&classes), n) = (spec.shape.last(), spec.n) else {
        return Err(spec.failed("the output needs an axis of classes"));
    };
    if spec.shape.len() != 1 {
        let shape = spec.shape;
        return Err(spec.failed(format!("the output must be [n, k], not [n, {shape:?}]")));
    }
    let options = loss::CrossEntropy {
        reduction,
        class_weight: spec.optional("class_weight").map(Tensor::values),
        ignore_index,
        label_smoothing,
        normalizer: None,
    };
    options.validate(classes)?;
    let target = read_target(spec.required("target")?, n, classes, &options)?;
    let normalizer = options.normalizer(&target, n);
    if normalizer <= 0.0 {
        return Err(spec.failed("the mean needs a sample that counts"));
    }
    Ok(Box::new(CrossEntropy {
        options,
        target,
        classes,
        normalizer,
        is_of_logits,
    }))
}

impl CrossEntropy {
    /// Returns r [rows, k], the weights of the classes, and R `[rows]`, their sums.
    fn weights(&self, rows: Range<usize>) -> (Vec<f64>, Vec<f64>) {
        let k = self.classes;
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
        (weights, targets.totals)
    }
}

impl Loss for CrossEntropy {
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
        (0..y.len() / k).map(row).collect()
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
                    total * (grown * p[c] * (1.0 - p[c]) * of_z[c]).min(most_of_p),
                    total * (grown * p[c] * all).min(most_of_p),
                    total * p[c] * (1.0 + log),
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
