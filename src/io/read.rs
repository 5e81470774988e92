//! Reads a file: a problem of one layer, or a network.

use super::{
    bytes::Budget,
    load::{self, Inputs},
    network,
    request::Request,
    source::Source,
};
use crate::{
    error::{Error, Result},
    network::Network,
};

/// The content of a file: a problem or a network, with the gradients to check.
#[derive(Debug)]
pub enum Content {
    /// A linear layer, or logits alone, with cross-entropy.
    Layer(Inputs),
    /// A network.
    Network(Network),
}

/// Returns the names of the tensors in a source.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read.
pub fn names(source: &Source) -> Result<Vec<String>> {
    Ok(source.open(Budget::default())?.names())
}

/// Reads a problem of one layer and the gradients to check.
///
/// # Errors
/// Those of [`read`], and [`Error::Usage`] for a network.
pub fn load(source: &Source, request: &Request) -> Result<Inputs> {
    match read(source, request)? {
        Content::Layer(inputs) => Ok(inputs),
        Content::Network(_) => Err(Error::Usage(format!(
            "{} holds a network, and this takes one linear layer; gradprobe check takes both",
            source.path().display()
        ))),
    }
}

/// Reads a problem or a network, and the gradients to check.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, [`Error::MissingTensor`],
/// [`Error::Setting`] for a setting of the loss that is not supported, and those of
/// [`Problem::new`](crate::problem::Problem::new) and [`Network::new`].
pub fn read(source: &Source, request: &Request) -> Result<Content> {
    let mut budget = Budget::default();
    budget.memory = request.memory.unwrap_or(budget.memory);
    budget.unpacked = request.unpacked.unwrap_or(budget.unpacked);
    let mut archive = source.open(budget)?;
    let archive = archive.as_mut();
    Ok(match network::read(archive, source.path(), request)? {
        Some(network) => Content::Network(network),
        None => Content::Layer(load::layer(archive, source.path(), request, budget)?),
    })
}
