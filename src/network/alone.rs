//! A layer alone, with its upstream gradient: the smallest network in which it is wrong.

use std::collections::BTreeMap;

use super::{
    attributes::Attributes,
    build::{Network, Tested},
    model::{Model, Node},
};
use crate::tensor::Tensor;

/// The name of the upstream gradient, and of the loss that takes it.
const UPSTREAM: &str = "grad_output";
const DOT: &str = "dot";

impl Network {
    /// Returns the layer that computes a tensor, with its inputs, its parameters, its upstream
    /// gradient and the gradients that it computes, as a network of its own. Returns the whole
    /// network for the loss, and for a value that several layers take, because its gradient is the
    /// sum of theirs.
    pub fn alone(&self, tested: &Tested) -> (Model, BTreeMap<String, Tensor>) {
        let whole = || (self.model.clone(), self.tensors.clone());
        let mut nodes = self.model.nodes.iter().zip(self.outputs());
        let Some((node, (place, built))) = nodes.find(|(node, _)| node.name == tested.node) else {
            return whole();
        };
        if built.inputs.iter().any(|&input| self.consumers[input] != 1) {
            return whole();
        }
        let name = &node.name;
        let mut tensors = BTreeMap::new();
        let is_own = |key: &str| {
            let key = key.strip_prefix("grad.").unwrap_or(key);
            let of_input = node.inputs.iter().any(|input| input == key);
            of_input
                || key
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let value = format!("value.{name}");
        let own = self.tensors.iter();
        let own = own.filter(|(key, _)| is_own(key) || **key == value);
        tensors.extend(own.map(|(key, tensor)| (key.clone(), tensor.clone())));
        for (input, &from) in node.inputs.iter().zip(&built.inputs) {
            let given = self.tensors.get(&format!("value.{input}")).cloned();
            let value = || given.unwrap_or_else(|| self.value(from));
            tensors.entry(input.clone()).or_insert_with(value);
        }
        let theirs = self.tensors.get(&format!("grad.{name}")).cloned();
        let upstream = theirs.unwrap_or_else(|| self.numeric_gradient(place));
        tensors.insert(UPSTREAM.to_owned(), upstream);
        let dot = Node {
            name: DOT.to_owned(),
            op: DOT.to_owned(),
            inputs: vec![name.clone()],
            attributes: Attributes::new(),
        };
        let model = Model {
            format: Model::FORMAT.to_owned(),
            autocast: self.model.autocast,
            tf32: self.model.tf32,
            nodes: vec![node.clone(), dot],
        };
        (model, tensors)
    }
}
