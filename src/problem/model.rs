//! The logits as a function of the variables.

use super::slopes::ColumnRange;
use crate::tensor::Tensor;

/// The logits as a function of the variables.
#[derive(Clone, Debug)]
pub(super) enum Model {
    /// z = input · weightᵀ + bias.
    Linear(Box<Linear>),
    /// z is the variable itself, [n, k].
    Logits(Tensor),
}

/// A linear layer and its input.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    /// [n, d].
    pub(super) input: Tensor,
    /// [k, d].
    pub(super) weight: Tensor,
    /// `[k]`.
    pub(super) bias: Option<Tensor>,
    pub(super) input_range: ColumnRange,
    pub(super) weight_range: ColumnRange,
}

impl Linear {
    pub(super) fn new(input: Tensor, weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            input,
            weight,
            bias,
            input_range: ColumnRange::default(),
            weight_range: ColumnRange::default(),
        }
    }
}

impl Model {
    /// Returns the tensor with one row per sample: the input, or the logits.
    pub(super) fn samples(&self) -> &Tensor {
        match self {
            Self::Linear(linear) => &linear.input,
            Self::Logits(logits) => logits,
        }
    }

    /// Returns the name of that tensor.
    pub(super) fn samples_name(&self) -> &'static str {
        match self {
            Self::Linear(_) => "input",
            Self::Logits(_) => "logits",
        }
    }

    /// Returns the model of other samples.
    pub(super) fn with_samples(&self, samples: Tensor) -> Self {
        match self {
            Self::Linear(linear) => Self::Linear(Box::new(Linear {
                input: samples,
                input_range: ColumnRange::default(),
                ..linear.as_ref().clone()
            })),
            Self::Logits(_) => Self::Logits(samples),
        }
    }
}
