//! The rate at which logits change with each variable, which sets the step and bounds truncation.

use std::sync::OnceLock;

use super::{Problem, Wrt};
use crate::tensor::Tensor;

/// The smallest and the largest value of each column of a tensor, computed on first use.
#[derive(Clone, Debug, Default)]
pub(super) struct ColumnRange(OnceLock<(Vec<f64>, Vec<f64>)>);

impl ColumnRange {
    fn of(&self, tensor: &Tensor) -> &(Vec<f64>, Vec<f64>) {
        self.0.get_or_init(|| {
            let columns = tensor.columns();
            let mut low = vec![f64::INFINITY; columns];
            let mut high = vec![f64::NEG_INFINITY; columns];
            for row in 0..tensor.shape()[0] {
                let values = tensor.rows::<f64>(row..row + 1);
                for ((low, high), value) in low.iter_mut().zip(&mut high).zip(values) {
                    *low = low.min(value);
                    *high = high.max(value);
                }
            }
            (low, high)
        })
    }
}

impl Problem {
    /// Returns the largest |`dz[c]`/`dx[i]`|, and for each column i of `wrt` the range of
    /// `dz[c]`/`dx[i]` over the classes c. A parameter moves the logit of one class only, so its
    /// range is taken over the samples, and includes 0.
    pub fn slopes(&self, wrt: Wrt) -> (f64, Vec<f64>) {
        match wrt {
            Wrt::Logits => (1.0, vec![1.0; self.k()]),
            Wrt::Bias => (1.0, vec![1.0]),
            Wrt::Input => {
                let layer = self.layer();
                let (low, high) = layer.weight_range.of(&layer.weight);
                let pairs = low.iter().zip(high);
                let ranges = pairs.map(|(low, high)| high - low).collect();
                (largest(low).max(largest(high)), ranges)
            }
            Wrt::Weight => {
                let layer = self.layer();
                let (low, high) = layer.input_range.of(&layer.input);
                let pairs = low.iter().zip(high);
                let ranges = pairs.map(|(low, high)| low.abs().max(high.abs()));
                let ranges: Vec<f64> = ranges.collect();
                (largest(&ranges), ranges)
            }
        }
    }
}

fn largest(values: &[f64]) -> f64 {
    let larger = |largest: f64, v: &f64| largest.max(v.abs());
    values.iter().fold(0.0, larger)
}
