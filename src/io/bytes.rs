//! A file's bytes, mapped, of which only so many stay in memory.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytesize::ByteSize;
use memmap2::Mmap;

use crate::{
    error::{Error, Result},
    tensor::{Bytes, Storage},
};

/// The memory that a check's arrays may take beside the weights, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) memory: usize,
    /// What a compressed array may unpack to, in a temporary file.
    pub(super) unpacked: usize,
}

impl Budget {
    /// With no bound on what is unpacked.
    #[cfg(test)]
    pub(super) fn of(memory: usize) -> Self {
        Self {
            memory,
            unpacked: usize::MAX,
        }
    }

    /// Of one mapped file: input and gradient may each have their own, and other things want memory too.
    fn mapped(self) -> usize {
        self.memory / 4
    }

    /// Of an archive's member that is inflated in memory; a larger one goes to a temporary file.
    pub(super) fn inflated(self) -> usize {
        self.memory / 16
    }

    /// # Errors
    /// [`Error::Setting`] if an array of `bytes` that is not stored row-major and little-endian is too large to be turned in memory.
    pub(super) fn require_turned(self, name: &str, bytes: usize) -> Result<()> {
        if bytes <= self.memory / 2 {
            return Ok(());
        }
        let expected = format!(
            "{name} takes {} in Fortran order or big-endian, and twice that to be turned: save it with np.ascontiguousarray, or give more",
            ByteSize::b(bytes as u64)
        );
        Err(Error::Setting {
            name: "--memory",
            found: ByteSize::b(self.memory as u64).to_string(),
            expected,
        })
    }
}

/// What reading a few bytes brings into memory at least: a page.
const PAGE: usize = 4096;

struct Mapping {
    map: Mmap,
    /// Bytes read since pages were last given back.
    read: AtomicUsize,
    /// How many may be read before they are.
    most: usize,
}

impl Storage for Mapping {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Gives all pages back when as many as may stay were read; what is needed again is read again.
    fn was_read(&self, bytes: usize) {
        let bytes = bytes.max(PAGE);
        if self.read.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most {
            self.read.store(0, Ordering::Relaxed);
            #[cfg(unix)]
            // SAFETY: the mapping is read-only, so nothing is lost: the next access reads the page from the file again.
            #[allow(unsafe_code)]
            let _ = unsafe {
                self.map
                    .unchecked_advise(memmap2::UncheckedAdvice::DontNeed)
            };
        }
    }
}

/// Maps a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened or mapped.
pub(super) fn map(path: &Path, budget: Budget) -> Result<Bytes> {
    let file = regular(path)?;
    let mapped = file.metadata().and_then(|metadata| match metadata.len() {
        // An empty range cannot be mapped.
        0 => Ok(Arc::new(Vec::new()) as Bytes),
        _ => map_file(&file, budget),
    });
    mapped.map_err(Error::io("read", path))
}

/// Opens a file, which a folder and a pipe are not.
///
/// # Errors
/// [`Error::Io`] if it is none, or cannot be opened.
pub(crate) fn regular(path: &Path) -> Result<File> {
    let failed = |source| Error::io("read", path)(source);
    // Asked before it is opened: opening a pipe waits for its other end.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is no regular file")));
    }
    File::open(path).map_err(failed)
}

/// Maps an open file that is not empty.
pub(super) fn map_file(file: &File, budget: Budget) -> std::io::Result<Bytes> {
    // SAFETY: the mapping is private and read-only. Another process that writes to the file while it is read can change
    // the values seen, as it could between two reads, but no reference to anything but bytes is ever made.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(file) }?;
    Ok(Arc::new(Mapping {
        map,
        read: AtomicUsize::new(0),
        most: budget.mapped(),
    }))
}
