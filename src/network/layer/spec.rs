//! The description of a layer: its name, its attributes, and the shapes of what it takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::{
    error::{Error, Result},
    tensor::{Dtype, Tensor},
};

/// A setting of a layer or a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// A number, such as `eps`.
    Number(f64),
    /// A word, such as `approximate`.
    Text(String),
    /// Numbers, such as `shape`.
    Numbers(Vec<f64>),
}

/// The settings of a layer or a loss, by PyTorch's names.
pub type Attributes = BTreeMap<String, Attribute>;

/// A layer in the making. What it does not ask for is refused.
pub(in crate::network) struct Spec<'a> {
    /// The name of the node: the prefix of its parameters.
    node: &'a str,
    attributes: &'a Attributes,
    /// The shapes of the inputs, without the axis of the samples.
    pub(super) inputs: &'a [Vec<usize>],
    tensors: &'a BTreeMap<String, Tensor>,
    /// The type of the program's numbers.
    pub(super) dtype: Dtype,
    asked: BTreeSet<String>,
    /// The parameters that were asked for: their full names, and their shapes.
    parameters: Vec<(String, Vec<usize>)>,
}

/// A layer, the shape of its output without the axis of the samples, and its parameters.
pub(in crate::network) struct Built {
    pub(in crate::network) layer: Box<dyn Layer>,
    pub(in crate::network) shape: Vec<usize>,
    pub(in crate::network) parameters: Vec<(String, Vec<usize>)>,
}

impl<'a> Spec<'a> {
    pub(in crate::network) fn new(
        node: &'a str,
        attributes: &'a Attributes,
        inputs: &'a [Vec<usize>],
        tensors: &'a BTreeMap<String, Tensor>,
        dtype: Dtype,
    ) -> Self {
        Self {
            node,
            attributes,
            inputs,
            tensors,
            dtype,
            asked: BTreeSet::new(),
            parameters: Vec::new(),
        }
    }

    /// Returns the only input's shape.
    ///
    /// # Errors
    /// [`Error::Model`] if there is not one input.
    pub(super) fn input(&self) -> Result<&'a [usize]> {
        self.require_inputs(1)?;
        Ok(&self.inputs[0])
    }

    /// Returns the length of the last axis of the only input.
    pub(super) fn width(&self) -> Result<usize> {
        let shape = self.input()?;
        let width = shape.last().copied();
        width.ok_or_else(|| self.failed("its input needs an axis besides that of the samples"))
    }

    pub(super) fn require_inputs(&self, count: usize) -> Result<()> {
        if self.inputs.len() == count {
            return Ok(());
        }
        Err(self.failed(format!(
            "it takes {count} inputs, not {}",
            self.inputs.len()
        )))
    }

    /// Returns a number.
    ///
    /// # Errors
    /// [`Error::Model`] if the attribute is none.
    pub(super) fn number(&mut self, name: &str, default: f64) -> Result<f64> {
        self.asked.insert(name.to_owned());
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Number(value)) if value.is_finite() => Ok(*value),
            Some(_) => Err(self.failed(format!("its {name} must be a number"))),
        }
    }

    /// Returns numbers, or `None` if there is no such attribute.
    pub(super) fn numbers(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        self.asked.insert(name.to_owned());
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Numbers(values)) => Ok(Some(values.clone())),
            Some(Attribute::Number(value)) => Ok(Some(vec![*value])),
            Some(Attribute::Text(_)) => Err(self.failed(format!("its {name} must be numbers"))),
        }
    }

    /// Returns one of these words.
    pub(super) fn word(&mut self, name: &str, words: &[&'static str]) -> Result<&'static str> {
        self.asked.insert(name.to_owned());
        let given = match self.attributes.get(name) {
            None => return Ok(words[0]),
            Some(Attribute::Text(word)) => words.iter().find(|it| *it == word),
            Some(_) => None,
        };
        let expected = || self.failed(format!("its {name} must be {}", words.join(" or ")));
        given.copied().ok_or_else(expected)
    }

    /// Returns a parameter of this shape, or `None` if the file has none.
    ///
    /// # Errors
    /// [`Error::Model`] if it has another shape, and those of [`Tensor::require_finite`].
    pub(super) fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f64>>> {
        let full = format!("{}.{name}", self.node);
        let Some(tensor) = self.tensors.get(&full) else {
            return Ok(None);
        };
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(self.failed(format!("{full} has shape {found:?}, not {shape:?}")));
        }
        if shape.contains(&0) {
            return Err(self.failed(format!("{full} has no entry")));
        }
        let values = tensor.values::<f64>();
        if !tensor.dtype().is_float() || values.iter().any(|value| !value.is_finite()) {
            return Err(self.failed(format!("{full} must hold finite floating-point numbers")));
        }
        self.parameters.push((full, shape.to_vec()));
        Ok(Some(values))
    }

    /// Returns a parameter of this shape.
    ///
    /// # Errors
    /// Those of [`Spec::optional`], and [`Error::Model`] if the file has none.
    pub(super) fn required(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let found = self.optional(name, shape)?;
        let node = self.node;
        found.ok_or_else(|| self.failed(format!("the file holds no tensor named {node}.{name}")))
    }

    /// Returns a statistic of each channel, which is no parameter.
    ///
    /// # Errors
    /// Those of [`Spec::required`].
    pub(super) fn statistic(&mut self, name: &str, channels: usize) -> Result<Vec<f64>> {
        let values = self.required(name, &[channels])?;
        self.parameters.pop();
        Ok(values)
    }

    /// Returns the shape of a tensor of the file, if it has it.
    pub(super) fn shape_of(&self, name: &str) -> Option<&'a [usize]> {
        let full = format!("{}.{name}", self.node);
        Some(self.tensors.get(&full)?.shape())
    }

    /// Returns an error on this node.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Model {
            node: self.node.to_owned(),
            reason: reason.into(),
        }
    }

    /// Finishes a layer with an output of this shape.
    ///
    /// # Errors
    /// [`Error::Model`] if it has an attribute that was not asked for.
    pub(super) fn build(
        &mut self,
        shape: Vec<usize>,
        layer: impl Layer + 'static,
    ) -> Result<Built> {
        let mut names = self.attributes.keys();
        if let Some(name) = names.find(|name| !self.asked.contains(*name)) {
            return Err(self.failed(format!("it has no attribute {name}")));
        }
        Ok(Built {
            layer: Box::new(layer),
            shape,
            parameters: std::mem::take(&mut self.parameters),
        })
    }
}
