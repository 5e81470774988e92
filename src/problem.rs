//! What is differentiated: a linear layer, cross-entropy and the tensors they meet, validated once.
//! Every later stage takes it as it is.

use std::ops::Range;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    loss::CrossEntropy,
    tensor::{Real, Tensor},
};

/// What the gradient is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Wrt {
    /// The layer's input, [n, d].
    Input,
    /// The layer's output, [n, k].
    Logits,
}

impl Wrt {
    /// Its name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Logits => "logits",
        }
    }

    /// The name of its gradient in a file.
    pub fn grad_name(self) -> &'static str {
        match self {
            Self::Input => "grad",
            Self::Logits => "grad_logits",
        }
    }
}

/// Z = input · weightᵀ + bias, and the cross-entropy of Z against the targets.
#[derive(Clone, Debug)]
pub struct Problem {
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    target: Vec<u32>,
    loss: CrossEntropy,
}

impl Problem {
    /// Takes `input` [n, d], `weight` [k, d], `bias` `[k]` and `target` `[n]`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Dtype`], [`Error::NotFinite`] or [`Error::Target`], for the first thing
    /// found wrong.
    pub fn new(
        input: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        target: &Tensor,
        loss: CrossEntropy,
    ) -> Result<Self> {
        let (n, d) = matrix("input", &input, "[n, d]: samples by features")?;
        let (k, weight_d) = matrix("weight", &weight, "[k, d]: classes by features")?;
        if weight_d != d {
            let expected = format!("it must be [k, {d}], as input has shape [{n}, {d}]");
            return Err(Error::Shape {
                name: "weight",
                expected,
                found: weight.shape().to_vec(),
            });
        }
        if let Some(bias) = &bias {
            bias.require_float("bias")?;
            if bias.shape() != [k] {
                let expected = format!("it must be [{k}], as weight has shape [{k}, {d}]");
                return Err(Error::Shape {
                    name: "bias",
                    expected,
                    found: bias.shape().to_vec(),
                });
            }
        }
        let target = classes(target, n, d, k)?;
        input.require_finite("input")?;
        weight.require_finite("weight")?;
        if let Some(bias) = &bias {
            bias.require_finite("bias")?;
        }
        Ok(Self {
            input,
            weight,
            bias,
            target,
            loss,
        })
    }

    /// Samples.
    pub fn n(&self) -> usize {
        self.input.shape()[0]
    }

    /// Features.
    pub fn d(&self) -> usize {
        self.input.shape()[1]
    }

    /// Classes.
    pub fn k(&self) -> usize {
        self.weight.shape()[0]
    }

    /// The input, [n, d].
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// The weight, [k, d].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias `[k]`, zeros where there is none.
    pub fn bias<T: Real>(&self) -> Vec<T> {
        self.bias
            .as_ref()
            .map_or_else(|| vec![T::zero(); self.k()], Tensor::values)
    }

    /// The classes of a range of samples.
    pub fn target(&self, rows: Range<usize>) -> &[u32] {
        &self.target[rows]
    }

    /// The loss's options.
    pub fn loss(&self) -> CrossEntropy {
        self.loss
    }

    /// Z, by which the sum of the samples' losses is divided.
    pub fn normalizer(&self) -> f64 {
        self.loss.normalizer(self.n())
    }

    /// Columns of the gradient with respect to `wrt`.
    pub fn columns(&self, wrt: Wrt) -> usize {
        match wrt {
            Wrt::Input => self.d(),
            Wrt::Logits => self.k(),
        }
    }

    /// How the logits move with column i of `wrt`: the largest |`dz[c]`/`dx[i]`| of all, and for each i the range
    /// of `dz[c]`/`dx[i]` over the classes c.
    pub fn slopes(&self, wrt: Wrt) -> (f64, Vec<f64>) {
        match wrt {
            Wrt::Logits => (1.0, vec![1.0; self.k()]),
            Wrt::Input => {
                let weight = self.weight.values::<f64>();
                let largest = weight
                    .iter()
                    .fold(0.0f64, |largest, w| largest.max(w.abs()));
                let mut low = vec![f64::INFINITY; self.d()];
                let mut high = vec![f64::NEG_INFINITY; self.d()];
                for row in weight.chunks_exact(self.d()) {
                    for ((low, high), &w) in low.iter_mut().zip(&mut high).zip(row) {
                        *low = low.min(w);
                        *high = high.max(w);
                    }
                }
                (
                    largest,
                    low.iter()
                        .zip(&high)
                        .map(|(low, high)| high - low)
                        .collect(),
                )
            }
        }
    }
}

fn matrix(name: &'static str, tensor: &Tensor, form: &str) -> Result<(usize, usize)> {
    tensor.require_float(name)?;
    match tensor.shape() {
        &[rows, columns] => Ok((rows, columns)),
        found => {
            let expected = format!("it must have two dimensions, {form}");
            Err(Error::Shape {
                name,
                expected,
                found: found.to_vec(),
            })
        }
    }
}

fn classes(target: &Tensor, n: usize, d: usize, k: usize) -> Result<Vec<u32>> {
    if target.shape() != [n] {
        let expected = format!("it must be [{n}], a class a row of input [{n}, {d}]");
        return Err(Error::Shape {
            name: "target",
            expected,
            found: target.shape().to_vec(),
        });
    }
    if target.dtype().is_float() {
        let found = target.dtype().to_string();
        return Err(Error::Dtype {
            name: "target".to_owned(),
            expected: "integer class indices",
            found,
        });
    }
    let class = |(row, &found): (usize, &i64)| {
        let class = u32::try_from(found)
            .ok()
            .filter(|&class| (class as usize) < k);
        class.ok_or(Error::Target {
            row,
            found,
            classes: k,
        })
    };
    target
        .integers(0..n)
        .iter()
        .enumerate()
        .map(class)
        .collect()
}
