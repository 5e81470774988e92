//! A file's bytes, mapped.

use std::{fs::File, path::Path, sync::Arc};

use memmap2::Mmap;

use crate::{
    error::{Error, Result},
    tensor::Bytes,
};

/// Maps a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened or mapped.
pub(super) fn map(path: &Path) -> Result<Bytes> {
    let failed = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    // Asked before it is opened: opening a pipe waits for its other end.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    if metadata.len() == 0 {
        // An empty range cannot be mapped.
        return Ok(Arc::new(Vec::new()));
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the mapping is private and read-only. Another process that writes to the file while it is read can change
    // the values seen, as it could between two reads, but no reference to anything but bytes is ever made.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    Ok(Arc::new(map))
}
