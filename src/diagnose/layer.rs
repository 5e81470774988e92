//! The parameters of a linear layer, in f64, and their change under gradient descent.

/// Weight and bias of a linear layer, or a gradient or direction in their space.
#[derive(Clone)]
pub(super) struct Layer {
    /// [k, d].
    pub(super) weight: Vec<f64>,
    /// `[k]`.
    pub(super) bias: Vec<f64>,
}

/// Change of the gradient as the weights move up the loss.
#[derive(Clone)]
pub(super) struct Descent {
    /// dL/dW and dL/db.
    pub(super) direction: Layer,
    /// Derivative of the gradient along `direction`, at the chosen rows.
    pub(super) slope: Vec<f64>,
}

impl Layer {
    /// Returns the layer moved by `step` along `direction`.
    pub(super) fn stepped(&self, direction: &Self, step: f64) -> Self {
        let add =
            |values: &[f64], by: &[f64]| values.iter().zip(by).map(|(v, d)| v + step * d).collect();
        Self {
            weight: add(&self.weight, &direction.weight),
            bias: add(&self.bias, &direction.bias),
        }
    }

    /// Returns the root of the sum of squares of all parameters.
    pub(super) fn norm(&self) -> f64 {
        let values = self.weight.iter().chain(&self.bias);
        values.map(|v| v * v).sum::<f64>().sqrt()
    }

    /// Returns the largest difference of two parameters, relative to the largest weight.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        let largest = self
            .weight
            .iter()
            .fold(f64::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
        let weights = self.weight.iter().zip(&other.weight);
        let parameters = weights.chain(self.bias.iter().zip(&other.bias));
        parameters.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
    }

    /// Returns the weight transposed, for a square one of `k` classes.
    pub(super) fn transposed_weight(&self, k: usize) -> Vec<f64> {
        transposed(&self.weight, k)
    }
}

/// Transposes a square matrix of `k` rows.
pub(super) fn transposed(values: &[f64], k: usize) -> Vec<f64> {
    (0..k * k).map(|e| values[e % k * k + e / k]).collect()
}
