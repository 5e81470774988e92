//! log(1 + exp(`beta` x)) / `beta`, and x itself where `beta` x is above `threshold`.

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Softplus {
    beta: f64,
    threshold: f64,
}

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let beta = spec.settings.number("beta", 1.0)?;
    let threshold = spec.settings.number("threshold", 20.0)?;
    if beta <= 0.0 {
        return Err(spec.failed("its beta must be above 0"));
    }
    each(spec, Softplus { beta, threshold })
}

impl Softplus {
    fn is_linear(&self, x: f64) -> bool {
        self.beta * x > self.threshold
    }
}

impl Pointwise for Softplus {
    fn value(&self, x: f64) -> f64 {
        if self.is_linear(x) {
            return x;
        }
        difference::softplus(self.beta * x) / self.beta
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        let smooth = difference::of_softplus(self.beta * x, self.beta * d) / self.beta;
        // PyTorch's function jumps at the threshold, by log(1 + exp(-threshold)) / beta.
        let above = |x: f64| (-self.beta * x).exp().ln_1p() / self.beta;
        match (self.is_linear(x), self.is_linear(x + d)) {
            (true, true) => d,
            (false, false) => smooth,
            (false, true) => d - above(x),
            (true, false) => d + above(x + d),
        }
    }

    fn slope(&self, x: f64) -> f64 {
        if self.is_linear(x) {
            return 1.0;
        }
        difference::sigmoid(self.beta * x)
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        let jump = difference::sigmoid(-self.threshold);
        vec![(self.threshold / self.beta, jump)]
    }
}
