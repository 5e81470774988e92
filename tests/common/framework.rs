//! A backward pass as a framework computes it: every tensor is rounded to its type, sums run in f32
//! (in f64 for f64). Shares no code with the engines.

use gradprobe::{
    problem::{Problem, Wrt},
    tensor::{Dtype, Tensor},
};
use half::{bf16, f16};

/// Rounds `value` to `dtype`.
pub(crate) fn round(dtype: Dtype, value: f64) -> f64 {
    match dtype {
        Dtype::F16 => f16::from_f64(value).to_f64(),
        Dtype::BF16 => bf16::from_f64(value).to_f64(),
        Dtype::F32 => f64::from(value as f32),
        _ => value,
    }
}

/// Returns a tensor of `values`, rounded to `dtype`.
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

/// Arithmetic of a program: the type of its tensors, and the rounding of operands before a matrix
/// product.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic {
    pub(crate) dtype: Dtype,
    pub(crate) operand: fn(f64) -> f64,
}

impl Arithmetic {
    /// Returns the arithmetic of a dtype without further rounding of operands.
    pub(crate) fn of(dtype: Dtype) -> Self {
        let operand = |value| value;
        Self { dtype, operand }
    }

    pub(crate) fn round(self, value: f64) -> f64 {
        round(self.dtype, value)
    }

    /// Rounds an intermediate result of an elementwise operation, to f32 or f64.
    fn wide(self, value: f64) -> f64 {
        match self.dtype {
            Dtype::F64 => value,
            _ => f64::from(value as f32),
        }
    }

    /// Sums in f32 or f64, in the eight lanes of a vector.
    pub(crate) fn dot(self, terms: impl Iterator<Item = f64>) -> f64 {
        let terms = terms.enumerate();
        if self.dtype == Dtype::F64 {
            let mut lanes = [0f64; 8];
            terms.for_each(|(i, term)| lanes[i % 8] += term);
            return lanes.iter().sum();
        }
        let mut lanes = [0f32; 8];
        terms.for_each(|(i, term)| lanes[i % 8] += term as f32);
        f64::from(lanes.iter().sum::<f32>())
    }

    fn operands(self, values: &[f64]) -> Vec<f64> {
        values.iter().copied().map(self.operand).collect()
    }

    /// Computes input · weightᵀ + bias, [n, k].
    pub(crate) fn logits(self, input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let (x, w) = (self.operands(input), self.operands(weight));
        let d = w.len() / bias.len();
        let logit = |row: &[f64], c: usize| {
            let terms = row.iter().zip(&w[c * d..]).map(|(x, w)| x * w);
            self.round(self.dot(terms) + bias[c])
        };
        x.chunks_exact(d)
            .flat_map(|row| (0..bias.len()).map(move |c| logit(row, c)))
            .collect()
    }

    /// Computes the log-softmax of every row of `width` values.
    pub(crate) fn log_softmax(self, z: &[f64], width: usize) -> Vec<f64> {
        let row = |z: &[f64]| -> Vec<f64> {
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = self.dot(z.iter().map(|z| self.wide((z - largest).exp())));
            let log = self.wide(sum.ln());
            let log_p = |z| self.round(self.wide(self.wide(z - largest) - log));
            z.iter().map(|&z| log_p(z)).collect()
        };
        z.chunks_exact(width).flat_map(row).collect()
    }

    /// Computes the gradient of -sum(weights · log_p) with respect to z, with log_p the log-softmax
    /// of z.
    pub(crate) fn log_softmax_backward(
        self,
        log_p: &[f64],
        weights: &[f64],
        width: usize,
    ) -> Vec<f64> {
        let row = |(log_p, weights): (&[f64], &[f64])| -> Vec<f64> {
            let total = self.dot(weights.iter().copied());
            let entry =
                |(l, w): (&f64, &f64)| self.round(self.wide(self.wide(l.exp()) * total) - w);
            log_p.iter().zip(weights).map(entry).collect()
        };
        let rows = log_p.chunks_exact(width).zip(weights.chunks_exact(width));
        rows.flat_map(row).collect()
    }

    /// Computes the gradient with respect to `wrt` from that with respect to the logits, [n, k].
    pub(crate) fn backward(
        self,
        wrt: Wrt,
        dlogits: &[f64],
        input: &[f64],
        weight: &[f64],
        k: usize,
    ) -> Vec<f64> {
        let (n, d) = (dlogits.len() / k, weight.len() / k);
        let g = self.operands(dlogits);
        let sums: Vec<f64> = match wrt {
            Wrt::Logits => dlogits.to_vec(),
            Wrt::Bias => (0..k)
                .map(|c| self.dot((0..n).map(|j| dlogits[j * k + c])))
                .collect(),
            Wrt::Input => {
                let w = self.operands(weight);
                (0..n * d)
                    .map(|e| self.dot((0..k).map(|c| g[e / d * k + c] * w[c * d + e % d])))
                    .collect()
            }
            Wrt::Weight => {
                let x = self.operands(input);
                (0..k * d)
                    .map(|e| self.dot((0..n).map(|j| g[j * k + e / d] * x[j * d + e % d])))
                    .collect()
            }
        };
        sums.into_iter().map(|sum| self.round(sum)).collect()
    }
}

/// Returns r, [n, k]: the weight of each class in the loss of each sample, before the division by
/// Z.
pub(crate) fn targets(problem: &Problem) -> Vec<f64> {
    let (n, k) = (problem.n(), problem.k());
    let targets = problem.target_rows::<f64>(0..n);
    let r = |e: usize| {
        let (j, c) = (e / k, e % k);
        let at_label = targets.labels[j] == c as u32;
        let linear = targets.linear.as_ref().map_or(0.0, |linear| linear[e]);
        let total = if at_label { targets.totals[j] } else { 0.0 };
        total - linear
    };
    (0..n * k).map(r).collect()
}

/// Computes the gradient of a problem whose operands are of type `dtype`, in that type.
pub(crate) fn gradient(problem: &Problem, wrt: Wrt, dtype: Dtype) -> Vec<f64> {
    let k = problem.k();
    let (x, w) = (
        problem.input().values::<f64>(),
        problem.weight().values::<f64>(),
    );
    let arithmetic = Arithmetic::of(dtype);
    let z = arithmetic.logits(&x, &w, &problem.bias::<f64>());
    let weights: Vec<f64> = targets(problem)
        .iter()
        .map(|r| arithmetic.round(r / problem.normalizer()))
        .collect();
    let dlogits = arithmetic.log_softmax_backward(&arithmetic.log_softmax(&z, k), &weights, k);
    arithmetic.backward(wrt, &dlogits, &x, &w, k)
}
