//! The interface that the readers of all formats share.

use std::path::Path;

use crate::{
    error::{Error, Result},
    tensor::Tensor,
};

/// One file or several that hold named tensors.
pub(super) trait Archive {
    /// Returns the tensors' names, sorted.
    fn names(&self) -> Vec<String>;

    /// Returns the tensor with this name, or `None` if there is none.
    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>>;

    /// Returns a string or number that is stored beside the tensors, such as the reduction.
    fn setting(&mut self, name: &str) -> Option<String>;
}

/// Returns the error for a file that does not follow its format.
pub(super) fn broken(path: &Path, format: &'static str, reason: impl ToString) -> Error {
    Error::Format {
        path: path.to_owned(),
        format,
        reason: reason.to_string(),
    }
}
