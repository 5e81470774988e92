//! The description of a loss: its attributes, and the tensors that it takes.

use std::collections::BTreeSet;

use super::Tensors;
use crate::{
    error::{Error, Result},
    network::layer::{Attribute, Attributes},
    tensor::Tensor,
};

/// A loss in the making. What it does not ask for is refused.
pub(in crate::network) struct LossSpec<'a> {
    name: &'a str,
    attributes: &'a Attributes,
    /// The shape of the output, without the axis of the samples.
    pub(super) shape: &'a [usize],
    /// The number of samples.
    pub(super) n: usize,
    tensors: &'a Tensors,
    asked: BTreeSet<String>,
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
            name,
            attributes,
            shape,
            n,
            tensors,
            asked: BTreeSet::new(),
        }
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

    /// Returns the number that the sum over all entries is divided by.
    pub(super) fn normalizer(&mut self, reductions: &[&'static str]) -> Result<f64> {
        let entries: usize = self.shape.iter().product();
        Ok(match self.word("reduction", reductions)? {
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
        self.require_finite(name, tensor)?;
        Ok(tensor.reshaped(&[self.n, self.shape.iter().product()]))
    }

    pub(super) fn require_finite(&self, name: &str, tensor: &Tensor) -> Result<()> {
        let is_finite = |row| {
            tensor
                .rows::<f64>(row..row + 1)
                .iter()
                .all(|it| it.is_finite())
        };
        if (0..tensor.shape().first().copied().unwrap_or(1)).all(is_finite) {
            return Ok(());
        }
        Err(self.failed(format!("{name} must hold finite numbers")))
    }

    /// Returns an error on this loss.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Model {
            node: self.name.to_owned(),
            reason: reason.into(),
        }
    }

    /// Finishes the loss.
    ///
    /// # Errors
    /// [`Error::Model`] if there is an attribute that was not asked for.
    pub(super) fn finish(&self) -> Result<()> {
        let unknown = self
            .attributes
            .keys()
            .find(|name| !self.asked.contains(*name));
        match unknown {
            Some(name) => Err(self.failed(format!("it has no attribute {name}"))),
            None => Ok(()),
        }
    }
}
