//! The variables that gradients are taken with respect to.

use serde::{Deserialize, Serialize};

use super::Layout;

/// The variable that a gradient is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Returns the variable of this name, or of the gradient of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|wrt| wrt.name() == name || wrt.grad_name() == name)
    }

    /// Returns true if the gradient is a sum over the samples, instead of one row per sample.
    pub fn is_parameter(self) -> bool {
        matches!(self, Self::Weight | Self::Bias)
    }

    /// Returns the place of an entry in the gradient as the user has it: in its layout, else as a
    /// matrix, or a vector for the bias.
    pub fn index(self, layout: Option<&Layout>, row: usize, column: usize) -> Vec<usize> {
        match (layout, self) {
            (Some(layout), _) => layout.index(row, column),
            (None, Self::Bias) => vec![row],
            (None, _) => vec![row, column],
        }
    }

    /// Returns the text form of an entry's place: `grad[3,5]`, `grad_bias[3]`.
    pub fn place(self, index: &[usize]) -> String {
        let index: Vec<String> = index.iter().map(ToString::to_string).collect();
        format!("{}[{}]", self.grad_name(), index.join(","))
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
