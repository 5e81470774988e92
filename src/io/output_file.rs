//! Files that are written whole or not at all: under a temporary name beside their place, then renamed.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::npy;
use crate::error::{Error, Result};

/// A file on its way. Dropped before [`OutputFile::finish`], it leaves nothing behind.
pub struct OutputFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl OutputFile {
    /// Makes sure that the file can be written, before there is anything to write.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::metadata(folder).map_err(|source| write_failed(path, source))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gradprobe-");
        // A temporary file is the owner's alone by default; a result is what the umask says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // Its own errors name the temporary file, which nobody has heard of.
        let file = builder
            .tempfile_in(folder)
            .map_err(|source| write_failed(path, source.kind().into()))?;
        if path.is_dir() {
            return Err(write_failed(path, std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|source| write_failed(&self.path, source))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be put there.
    pub fn finish(self) -> Result<()> {
        let failed = |source| write_failed(&self.path, source);
        let file = self
            .file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.persist(&self.path)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The numeric gradient as an .npy file of f64, written a chunk of rows at a time.
pub struct NumericFile(OutputFile);

impl NumericFile {
    /// Begins a file of `rows` by `columns`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path, rows: usize, columns: usize) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        file.write(&npy::f64_header(&[rows, columns]))?;
        Ok(Self(file))
    }

    /// Appends the next values.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk does not take them.
    pub fn write(&mut self, values: &[f64]) -> Result<()> {
        values
            .iter()
            .try_for_each(|value| self.0.write(&value.to_le_bytes()))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be put there.
    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

fn write_failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    }
}
