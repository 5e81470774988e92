//! The description of a loss: its attributes, and the tensors that it takes.

use super::Tensors;
use crate::{
    error::{Error, Result},
    network::attributes::{Attributes, Settings},
    tensor::Tensor,
};

/// The name of the upstream gradient of the samples' losses.
const SAMPLE_WEIGHT: &str = "sample_weight";

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

    /// Returns the reduction, of those that a loss has, or none of them for a loss whose samples
    /// have weights.
    ///
    /// # Errors
    /// [`Error::Model`] for any other.
    pub(super) fn reduction(&mut self, reductions: &[&'static str]) -> Result<&'static str> {
        let mut all = reductions.to_vec();
        if self.optional(SAMPLE_WEIGHT).is_some() {
            all.push("none");
        }
        self.settings.word("reduction", &all)
    }

    /// Returns the divisor that replaces that of the reduction, if one is given.
    ///
    /// # Errors
    /// [`Error::Model`] if it is not a number above 0.
    pub(super) fn given_normalizer(&mut self) -> Result<Option<f64>> {
        let given = self.settings.optional_number("normalizer")?;
        match given {
            Some(normalizer) if normalizer <= 0.0 => {
                Err(self.failed("its normalizer must be above 0"))
            }
            given => Ok(given),
        }
    }

    /// Returns the number that the sum over all entries is divided by.
    ///
    /// # Errors
    /// Those of [`LossSpec::reduction`] and [`LossSpec::given_normalizer`].
    pub(super) fn normalizer(&mut self, reductions: &[&'static str]) -> Result<f64> {
        let entries: usize = self.shape.iter().product();
        let of_reduction = match self.reduction(reductions)? {
            "sum" | "none" => 1.0,
            "batchmean" => self.n as f64,
            _ => (self.n * entries) as f64,
        };
        Ok(self.given_normalizer()?.unwrap_or(of_reduction))
    }

    /// Returns the upstream gradient of the losses, if it is given: one number for each sample, or
    /// for each entry of `shape` in a sample. Its rows are the samples.
    ///
    /// # Errors
    /// [`Error::Model`] for another shape, or for values that are not finite.
    pub(super) fn sample_weight(&self, shape: &[usize]) -> Result<Option<Tensor>> {
        let Some(tensor) = self.optional(SAMPLE_WEIGHT) else {
            return Ok(None);
        };
        let (found, of_each) = (tensor.shape(), [&[self.n], shape].concat());
        if found != [self.n] && found != of_each {
            let n = self.n;
            let reason = format!("{SAMPLE_WEIGHT} has shape {found:?}, not [{n}] or {of_each:?}");
            return Err(self.failed(reason));
        }
        if !tensor.dtype().is_float() || !tensor.is_finite() {
            return Err(self.failed(format!("{SAMPLE_WEIGHT} must hold finite numbers")));
        }
        let columns = found[1..].iter().product();
        Ok(Some(tensor.reshaped(&[self.n, columns])))
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
