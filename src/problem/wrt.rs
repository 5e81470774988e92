//! The variables that gradients are taken with respect to.

use serde::{Deserialize, Serialize};

/// The variable that a gradient is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Wrt {
    /// The layer's input, [n, d].
    Input,
    /// The layer's output, [n, k].
    Logits,
    /// The layer's weight, [k, d].
    Weight,
    /// The layer's bias, `[k]`.
    Bias,
}

impl Wrt {
    /// All variables.
    pub const ALL: [Self; 4] = [Self::Input, Self::Logits, Self::Weight, Self::Bias];

    /// Returns true if the gradient is a sum over the samples, instead of one row per sample.
    pub fn is_parameter(self) -> bool {
        matches!(self, Self::Weight | Self::Bias)
    }

    /// Returns the text form of an entry's place: `grad[3,5]`, `grad_bias[3]`.
    pub fn place(self, row: usize, column: usize) -> String {
        match self {
            Self::Bias => format!("{}[{row}]", self.grad_name()),
            _ => format!("{}[{row},{column}]", self.grad_name()),
        }
    }

    /// Returns the variable's name in flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Logits => "logits",
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }

    /// Returns the name of the gradient in a file.
    pub fn grad_name(self) -> &'static str {
        match self {
            Self::Input => "grad",
            Self::Logits => "grad_logits",
            Self::Weight => "grad_weight",
            Self::Bias => "grad_bias",
        }
    }
}
