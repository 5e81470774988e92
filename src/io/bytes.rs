//! Maps files, and limits the memory that mapped and unpacked arrays take.

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

/// The memory that arrays other than the weights may take, in bytes.
///
/// The shares below are chosen. A check holds an input and a gradient, which may be in separate
/// mappings, and computes with the remaining memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) memory: usize,
    /// The largest unpacked size of one compressed array.
    pub(super) unpacked: usize,
}

impl Default for Budget {
    /// Returns 1 GiB, like `--memory`, and no limit on the size of an array.
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            unpacked: usize::MAX,
        }
    }
}

impl Budget {
    /// Returns a budget without a limit on the size of a compressed array.
    #[cfg(test)]
    pub(super) fn of(memory: usize) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }

    /// Returns the bytes that one mapping may keep in memory.
    fn mapped(self) -> usize {
        self.memory / 4
    }

    /// Returns the size up to which a compressed array is inflated into memory. A larger one is
    /// inflated into a temporary file.
    #[cfg(feature = "npz")]
    pub(super) fn inflated(self) -> usize {
        self.memory / 16
    }

    /// Checks that an array of `bytes` bytes can be converted to row-major little-endian order in
    /// memory, which takes a second copy. Messages call the array `name`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the copy does not fit.
    pub(super) fn require_convertible(self, name: &str, bytes: usize) -> Result<()> {
        let order = "in Fortran order or big-endian";
        self.require_copy(
            name,
            bytes,
            order,
            "save the array with numpy.ascontiguousarray",
        )
    }

    /// Checks that an array of `bytes` bytes can be copied into a matrix with its rows together.
    ///
    /// # Errors
    /// [`Error::Setting`] if the copy does not fit.
    pub(super) fn require_reordered(self, name: &str, bytes: usize) -> Result<()> {
        self.require_copy(
            name,
            bytes,
            "with its columns before its last axis",
            "save it as a matrix",
        )
    }

    fn require_copy(self, name: &str, bytes: usize, order: &str, advice: &str) -> Result<()> {
        if bytes <= self.memory / 2 {
            return Ok(());
        }
        let (size, needed) = (bytes as u64, 2 * bytes as u64);
        Err(Error::Setting {
            name: "--memory",
            found: ByteSize::b(self.memory as u64).to_string(),
            expected: format!(
                "{name} has {} {order}, and converting it takes {}: raise --memory, or {advice}",
                ByteSize::b(size),
                ByteSize::b(needed)
            ),
        })
    }
}

/// The bytes that even a small read loads into memory: a page, 4 KiB on most systems.
const PAGE: usize = 4096;

/// A mapped file that keeps only some of its pages in memory.
pub(super) struct Mapping {
    map: Mmap,
    /// Bytes read since the pages were last released.
    read: AtomicUsize,
    /// Bytes that may be read before the pages are released.
    most: usize,
}

impl Mapping {
    /// Maps an open file that is not empty.
    pub(super) fn new(file: &File, budget: Budget) -> std::io::Result<Self> {
        // SAFETY: the mapping is read-only, and only ever seen as bytes. Another process that
        // writes to the file meanwhile can change the values, as it could between two reads.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self {
            map,
            read: AtomicUsize::new(0),
            most: budget.mapped(),
        })
    }
}

impl Storage for Mapping {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Counts bytes that were read, and releases all pages once the count exceeds the limit. A page
    /// that is needed again is read from the file again.
    fn was_read(&self, bytes: usize) {
        let bytes = bytes.max(PAGE);
        if self.read.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most {
            self.read.store(0, Ordering::Relaxed);
            #[cfg(unix)]
            // SAFETY: the mapping is read-only, so releasing a page loses nothing: the next access
            // reads it from the file.
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
    let file = open_regular(path)?;
    let mapped = file.metadata().and_then(|metadata| match metadata.len() {
        // An empty range cannot be mapped.
        0 => Ok(Arc::new(Vec::new()) as Bytes),
        _ => Mapping::new(&file, budget).map(|it| Arc::new(it) as Bytes),
    });
    mapped.map_err(Error::io("read", path))
}

/// Opens a regular file.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, or is a folder, a pipe or a device.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let failed = |source| Error::io("read", path)(source);
    // Checked before the file is opened, because opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        let reason = "a regular file is needed, not a pipe or a device";
        return Err(failed(std::io::Error::other(reason)));
    }
    File::open(path).map_err(failed)
}
