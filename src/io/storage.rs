//! The bytes of files, and of objects in stores.

use std::path::Path;
#[cfg(feature = "cli")]
use std::path::PathBuf;

#[cfg(feature = "object-store")]
use super::object;
use super::{
    bytes::{self, Budget},
    url,
};
use crate::{
    error::{Error, Result},
    tensor::Bytes,
};

/// Maps a file, or opens an object, of which nothing is fetched.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, [`Error::Usage`] for an address that cannot be read.
pub(super) fn open(path: &Path, budget: Budget) -> Result<Bytes> {
    if !url::is_url(path) {
        return bytes::map(path, budget);
    }
    url::require_readable(path)?;
    object::open(path, budget)
}

/// Reads a text file, or an object in a store.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = open(path, Budget::default())?;
    bytes.fetch(0..bytes.bytes().len())?;
    let text = String::from_utf8(bytes.bytes().to_vec());
    text.map_err(|error| Error::io("read", path)(std::io::Error::other(error)))
}

/// Returns the objects in a folder and below it, or those that a pattern matches, sorted. Any other
/// address is returned as it is.
///
/// # Errors
/// Those of [`open`], and [`Error::Usage`] if there are none.
#[cfg(feature = "cli")]
pub(crate) fn list(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    url::require_readable(path)?;
    let text = path.to_string_lossy();
    if !text.ends_with('/') && !text.contains(['*', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let found = object::list(path, extensions)?;
    if found.is_empty() {
        let message = format!("{text}: no .safetensors or .npz object is there");
        return Err(Error::Usage(message));
    }
    Ok(found)
}

/// The refusals of a build that reads files only.
#[cfg(not(feature = "object-store"))]
mod object {
    use super::{Budget, Bytes, Error, Path, Result};

    fn refusal(path: &Path) -> Error {
        Error::Usage(format!(
            "{} is an address, and this build of gradprobe reads files only; \
             build with --features object-store",
            path.display()
        ))
    }

    pub(super) fn open(path: &Path, _budget: Budget) -> Result<Bytes> {
        Err(refusal(path))
    }

    #[cfg(feature = "cli")]
    pub(super) fn list(path: &Path, _extensions: &[&str]) -> Result<Vec<super::PathBuf>> {
        Err(refusal(path))
    }
}
