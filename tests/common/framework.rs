//! A backward pass as a framework computes it: every tensor rounded to its type, sums in f32 (in f64 for f64).

use gradprobe::{
    loss::Samples,
    problem::{Problem, Wrt},
    tensor::{Dtype, Tensor},
};
use half::{bf16, f16};

/// `value` rounded to `dtype`.
pub(crate) fn round(dtype: Dtype, value: f64) -> f64 {
    match dtype {
        Dtype::F16 => f16::from_f64(value).to_f64(),
        Dtype::BF16 => bf16::from_f64(value).to_f64(),
        Dtype::F32 => f64::from(value as f32),
        _ => value,
    }
}

/// A tensor of that type.
pub(crate) fn tensor(dtype: Dtype, shape: &[usize], values: &[f64]) -> Tensor {
    let bytes: Vec<u8> = match dtype {
        Dtype::F16 => values
            .iter()
            .flat_map(|&v| f16::from_f64(v).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .iter()
            .flat_map(|&v| bf16::from_f64(v).to_le_bytes())
            .collect(),
        Dtype::F32 => values
            .iter()
            .flat_map(|&v| (v as f32).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|&v| v.to_le_bytes()).collect(),
    };
    let place = 0..bytes.len();
    Tensor::over(dtype, shape.to_vec(), std::sync::Arc::new(bytes), place).unwrap()
}

/// The sum in the type that `dtype` is summed in, in the eight lanes of a vector.
fn dot(dtype: Dtype, terms: impl Iterator<Item = f64>) -> f64 {
    let mut wide = [0f64; 8];
    let mut narrow = [0f32; 8];
    for (i, term) in terms.enumerate() {
        wide[i % 8] += term;
        narrow[i % 8] += term as f32;
    }
    match dtype {
        Dtype::F64 => wide.iter().sum(),
        _ => f64::from(narrow.iter().sum::<f32>()),
    }
}

/// The gradient with respect to the input or the logits, in `dtype`, of a problem whose operands are of that type.
pub(crate) fn gradient(problem: &Problem, wrt: Wrt, dtype: Dtype) -> Vec<f64> {
    let (n, d, k) = (problem.n(), problem.d(), problem.k());
    let (x, w, bias) = (
        problem.input().values::<f64>(),
        problem.weight().values::<f64>(),
        problem.bias::<f64>(),
    );
    let samples: Samples<f64> = problem.samples(0..n);
    let round = |value| round(dtype, value);
    // What is computed elementwise is computed in f32 or f64 and then rounded.
    let wide = |value: f64| {
        if dtype == Dtype::F64 {
            value
        } else {
            f64::from(value as f32)
        }
    };
    let mut gradient = Vec::new();
    for (j, row) in x.chunks_exact(d).enumerate() {
        let z =
            |c: usize| round(dot(dtype, row.iter().zip(&w[c * d..]).map(|(x, w)| x * w)) + bias[c]);
        let z: Vec<f64> = (0..k).map(z).collect();
        let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = wide(dot(dtype, z.iter().map(|z| wide((z - largest).exp()))).ln());
        let r = |c: usize| {
            let at_label = if samples.labels[j] == c as u32 {
                samples.totals[j]
            } else {
                0.0
            };
            at_label
                - samples
                    .linear
                    .as_ref()
                    .map_or(0.0, |linear| linear[j * k + c])
        };
        let weights: Vec<f64> = (0..k).map(|c| round(r(c) / problem.normalizer())).collect();
        let total = dot(dtype, weights.iter().copied());
        let derivative = |c: usize| {
            let log_p = round(wide(wide(z[c] - largest) - log));
            round(wide(wide(log_p.exp()) * total) - weights[c])
        };
        let derivatives: Vec<f64> = (0..k).map(derivative).collect();
        match wrt {
            Wrt::Logits => gradient.extend(derivatives),
            _ => {
                let entry = |i: usize| {
                    round(dot(
                        dtype,
                        derivatives
                            .iter()
                            .enumerate()
                            .map(|(c, g)| g * w[c * d + i]),
                    ))
                };
                gradient.extend((0..d).map(entry));
            }
        }
    }
    gradient
}
