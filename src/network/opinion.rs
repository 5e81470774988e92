//! The second opinion: the difference of the whole network along a random direction of its inputs,
//! against the gradient that the local differences add up to.
//!
//! The two share the rules for single layers, which the certificates hold to the functions
//! themselves, but not the way from one layer to the next.

use std::ops::Range;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{
    build::Network,
    reverse::{Forward, Handed},
};
use crate::error::{Error, Result};

/// Samples that are asked for a second opinion, and the entries of parameters that they may read.
/// At least one is asked. Chosen: below a tenth of a check.
const SAMPLES: usize = 8;
const READ: usize = 1 << 24;
/// The step. Through an ill-conditioned network, one of 2^-32 is truncated by 1e-4 of a derivative.
const STEP: f64 = 1.0 / (1u128 << 80) as f64;
/// Largest difference between the two, relative to the magnitudes behind them.
const BOUND: f64 = 1e-9;
/// The same for each rounding error of a program's gradient, in units of the unit roundoff: much
/// more than the 2^-53 of f64.
const ROUNDING: f64 = 1e-12;

impl Network {
    /// Compares the gradient of the inputs with the difference of the whole network, for a few
    /// samples without a value on a kink.
    ///
    /// # Errors
    /// [`Error::OraclesDisagree`] if the two disagree.
    pub fn confirm(&self) -> Result<()> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let entries: usize = self.parameters.iter().map(|it| it.entries).sum();
        let samples = (READ / entries.max(1)).clamp(1, SAMPLES);
        let rows = if self.is_coupled() { self.n } else { 1 };
        for start in (0..self.n).step_by(rows).take(samples) {
            let rows = start..start + rows;
            let reverse = self.block(&rows, Handed::Numeric, None);
            let forward = &reverse.forward;
            // Uniform in [-1, 1].
            let mut direction = |width: usize| -> Vec<f64> {
                std::iter::repeat_with(|| random.random_range(-1.0..1.0))
                    .take(width)
                    .collect()
            };
            let inputs = self.values.iter().map(|value| {
                let along = direction(rows.len() * value.width);
                if value.is_input { along } else { Vec::new() }
            });
            let inputs: Vec<Vec<f64>> = inputs.collect();
            let side = |h: f64| self.difference(&rows, forward, &inputs, h);
            let (Some((up, differences)), Some((down, _))) = (side(STEP), side(-STEP)) else {
                continue;
            };
            let whole = (up - down) / (2.0 * STEP);
            let products = |along: &[f64], g: &[f64]| -> [f64; 2] {
                let products = along.iter().zip(g).map(|(along, g)| along * g);
                [products.clone().sum(), products.map(f64::abs).sum()]
            };
            let gradients = reverse.gradients.iter().map(|(g, _)| g);
            let pairs = inputs.iter().zip(gradients.clone());
            let sum: f64 = pairs.map(|(along, g)| products(along, g)[0]).sum();
            // Differences may cancel in any layer.
            let pairs = differences.iter().zip(gradients);
            let magnitude: f64 = pairs.map(|(d, g)| products(d, g)[1]).sum();
            // Terms may cancel inside of a layer, as in a softmax: its rounding errors tell.
            let errors = reverse.gradients.iter().map(|(_, errors)| &errors.smooth);
            let pairs = inputs.iter().zip(errors);
            let rounding: f64 = pairs
                .map(|(along, errors)| products(along, errors)[1])
                .sum();
            let bound = BOUND * magnitude / STEP + ROUNDING * rounding;
            if !((whole - sum).abs() <= bound) {
                return Err(Error::OraclesDisagree {
                    device: "the network, layer by layer".to_owned(),
                    place: format!("sample {start}, along a random direction"),
                    numeric: sum,
                    on_host: whole,
                    bound,
                });
            }
        }
        Ok(())
    }

    /// Returns the difference of the loss of some samples and those of all values, or `None` if a
    /// value lies on a kink.
    fn difference(
        &self,
        rows: &Range<usize>,
        forward: &Forward,
        inputs: &[Vec<f64>],
        h: f64,
    ) -> Option<(f64, Vec<Vec<f64>>)> {
        let mut differences: Vec<Vec<f64>> = inputs
            .iter()
            .map(|along| along.iter().map(|along| h * along).collect())
            .collect();
        for (place, node) in self.outputs() {
            let at = self.at(forward, node, &forward.values[place]);
            if node.layer.is_on_kink(&at.inputs) {
                return None;
            }
            let d: Vec<&[f64]> = node
                .inputs
                .iter()
                .map(|&it| differences[it].as_slice())
                .collect();
            let mut out = vec![0.0; at.output.len()];
            node.layer.difference(&at, &d, &mut out);
            differences[place] = out;
        }
        let (y, d) = (&forward.values[self.output], &differences[self.output]);
        if self.loss.is_on_kink(rows.clone(), y) {
            return None;
        }
        let loss = self.loss.difference(rows.clone(), y, d).iter().sum();
        Some((loss, differences))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        network::{
            Model,
            layer::{Layer, Upstream},
            values::{At, Errors},
        },
        tensor::{Dtype, Tensor},
    };

    /// The identity, whose differences along its input are off by a millionth.
    struct Broken;

    impl Layer for Broken {
        fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
            y.copy_from_slice(x[0]);
        }

        fn difference(&self, _at: &At, d: &[&[f64]], out: &mut [f64]) {
            out.copy_from_slice(d[0]);
        }

        fn pull(&self, _at: &At, _input: usize, g: &Upstream, gx: &mut [f64], _: &mut Errors) {
            gx.iter_mut()
                .zip(g.g)
                .for_each(|(gx, g)| *gx = g * (1.0 + 1e-6));
        }

        fn errors(&self, _at: &At, _errors: &mut Errors) {}
    }

    #[test]
    fn a_wrong_way_between_layers_is_found() {
        let tensor = || Tensor::from_f64(&[2, 3], &[0.5, -1.0, 2.0, 0.1, 0.7, -0.3]);
        let names = ["input", "target", "grad.input"];
        let tensors = BTreeMap::from(names.map(|name| (name.to_owned(), tensor())));
        let model = Model::parse("identity tanh mse_loss").unwrap();
        let mut network = Network::new(&model, &tensors, Dtype::F64).unwrap();
        assert!(network.confirm().is_ok());
        network.nodes[0].layer = Box::new(Broken);
        assert!(network.confirm().is_err());
    }
}
