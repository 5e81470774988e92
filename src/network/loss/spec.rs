//! The description of a loss: its attributes, and the tensors that it takes.

use super::Tensors;
use crate::{
    error::{Error, Result},
    network::attributes::{Attributes, Settings},
    tensor::Tensor,
};

/// A loss in the making.
pub(in crate::network) struct LossSpec<'a> {
    pub(super) settings: Settings<'a>,
    /// The shape of the output, without the axis of the samples.
    pub(super) shape: &'a [usize],
    /// The number of samples.
    pub(super) n: usize,
    tensors: &'a Tensors,
}

impl<'a> LossSpec<'a> {
    pub(super) fn new(
        name: &'a str,
        attributes: &'a Attributes,
        shape: &'a [usize],
        n: usize,
        tensors: &'a Tensors,
    ) -> Self {
        Self {
            settings: Settings::new(name, attributes),
            shape,
            n,
            tensors,
        }
    }

    /// Returns the number that the sum over all entries is divided by.
    pub(super) fn normalizer(&mut self, reductions: &[&'static str]) -> Result<f64> {
        let entries: usize = self.shape.iter().product();
        Ok(match self.settings.word("reduction", reductions)? {
            "sum" => 1.0,
            "batchmean" => self.n as f64,
            _ => (self.n * entries) as f64,
        })
    }

    /// Returns a tensor of the file, if it has it.
    pub(super) fn optional(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.get(name)
    }

    /// Returns a tensor of the file.
    ///
    /// # Errors
    /// [`Error::Model`] if it has none of this name.
    pub(super) fn required(&self, name: &str) -> Result<&'a Tensor> {
        let missing = || self.failed(format!("the file holds no tensor named {name}"));
        self.optional(name).ok_or_else(missing)
    }

    /// Returns a tensor of the shape of the output, with finite values.
    ///
    /// # Errors
    /// [`Error::Model`] if it has another shape, or other values.
    pub(super) fn like_output(&self, name: &str) -> Result<Tensor> {
        let tensor = self.required(name)?;
        let expected = [&[self.n], self.shape].concat();
        let found = tensor.shape();
        if found != expected {
            return Err(self.failed(format!("{name} has shape {found:?}, not {expected:?}")));
        }
        if !tensor.is_finite() {
            return Err(self.failed(format!("{name} must hold finite numbers")));
        }
        Ok(tensor.reshaped(&[self.n, self.shape.iter().product()]))
    }

    /// Returns an error on this loss.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        self.settings.failed(reason)
    }
}
