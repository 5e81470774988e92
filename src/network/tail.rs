//! The end of a network as a problem of one layer with cross-entropy, whose causes are known.

use super::build::Network;
use crate::{problem::Problem, tensor::Tensor};

impl Network {
    /// Returns the loss as a problem of given logits [n, k], if it is a cross-entropy of such, for
    /// the diagnosis of their gradient.
    pub fn problem_of_logits(&self) -> Option<Problem> {
        let (options, target) = self.loss.cross_entropy()?;
        let logits = self.matrix(self.output);
        let problem = Problem::of_logits(logits, target, options.clone()).ok()?;
        Some(problem.with_computed_in(Some(self.dtype())))
    }

    /// Returns the last layer and the loss as one problem, if they are linear and cross-entropy,
    /// with the names of the layer's node and of its input.
    pub fn problem_of_tail(&self) -> Option<(Problem, &str, &str)> {
        let (options, target) = self.loss.cross_entropy()?;
        let (_, built) = self
            .outputs()
            .into_iter()
            .find(|(place, _)| *place == self.output)?;
        let [.., node, _] = self.model.nodes.as_slice() else {
            return None;
        };
        let ([input], [place]) = (node.inputs.as_slice(), built.inputs.as_slice()) else {
            return None;
        };
        if node.op != "linear" || self.values[*place].shape.len() != 1 {
            return None;
        }
        let parameter = |name: &str| self.tensors.get(&format!("{}.{name}", node.name)).cloned();
        let (x, weight) = (self.matrix(*place), parameter("weight")?);
        let problem = Problem::new(x, weight, parameter("bias"), target, options.clone()).ok()?;
        let problem = problem.with_computed_in(Some(self.dtype()));
        Some((problem, &node.name, input))
    }

    /// Returns a value of all samples, [n, width].
    fn matrix(&self, place: usize) -> Tensor {
        self.value(place)
            .reshaped(&[self.n, self.values[place].width])
    }
}
