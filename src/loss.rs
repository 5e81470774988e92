//! The loss's options as data. Cross-entropy of class indices, with Z the normaliser:
//! `L = sum_j (logsumexp(z[j,:]) - z[j,target[j]]) / Z`.

use serde::Serialize;

/// How the samples' losses become one number; PyTorch's `reduction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Their sum over n.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// Cross-entropy over logits, as in `torch.nn.functional.cross_entropy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrossEntropy {
    /// How the samples' losses become one number.
    pub reduction: Reduction,
}

impl CrossEntropy {
    /// Z, by which the sum of `n` samples' losses is divided.
    pub fn normalizer(&self, n: usize) -> f64 {
        match self.reduction {
            Reduction::Mean => n as f64,
            Reduction::Sum => 1.0,
        }
    }
}
