//! The description of a layer: its name, its attributes, and the shapes of what it takes.

use std::collections::BTreeMap;

use super::Layer;
use crate::{
    error::{Error, Result},
    network::attributes::{Attributes, Settings},
    tensor::{Dtype, Tensor},
};

/// A layer in the making.
pub(in crate::network) struct Spec<'a> {
    /// Its settings. The name of its node is the prefix of its parameters.
    pub(super) settings: Settings<'a>,
    /// The shapes of the inputs, without the axis of the samples.
    pub(super) inputs: &'a [Vec<usize>],
    tensors: &'a BTreeMap<String, Tensor>,
    /// The type of the program's numbers.
    pub(super) dtype: Dtype,
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
            settings: Settings::new(node, attributes),
            inputs,
            tensors,
            dtype,
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

    /// Returns a parameter of this shape, or `None` if the file has none.
    ///
    /// # Errors
    /// Those of [`Spec::read`].
    pub(super) fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f64>>> {
        let found = self.read(name, shape)?;
        if found.is_some() {
            self.parameters.push((self.full(name), shape.to_vec()));
        }
        Ok(found)
    }

    /// Returns a parameter of this shape.
    ///
    /// # Errors
    /// Those of [`Spec::read`], and [`Error::Model`] if the file has none.
    pub(super) fn required(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let found = self.optional(name, shape)?;
        found.ok_or_else(|| self.missing(name))
    }

    /// Returns a statistic of each channel, which is no parameter.
    ///
    /// # Errors
    /// Those of [`Spec::required`].
    pub(super) fn statistic(&self, name: &str, channels: usize) -> Result<Vec<f64>> {
        let found = self.read(name, &[channels])?;
        found.ok_or_else(|| self.missing(name))
    }

    /// Returns the values of a tensor of this shape, or `None` if the file has none.
    ///
    /// # Errors
    /// [`Error::Model`] if it has another shape, or other values than finite numbers.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f64>>> {
        let full = self.full(name);
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
        if !tensor.dtype().is_float() || !tensor.is_finite() {
            return Err(self.failed(format!("{full} must hold finite floating-point numbers")));
        }
        Ok(Some(tensor.values()))
    }

    /// Returns the name of a tensor of this node in the file.
    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.settings.node)
    }

    fn missing(&self, name: &str) -> Error {
        self.failed(format!(
            "the file holds no tensor named {}",
            self.full(name)
        ))
    }

    /// Returns the shape of a tensor of the file, if it has it.
    pub(super) fn shape_of(&self, name: &str) -> Option<&'a [usize]> {
        Some(self.tensors.get(&self.full(name))?.shape())
    }

    /// Returns an error on this node.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        self.settings.failed(reason)
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
        self.settings.finish()?;
        Ok(Built {
            layer: Box::new(layer),
            shape,
            parameters: std::mem::take(&mut self.parameters),
        })
    }
}
