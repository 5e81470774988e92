//! Files that are written whole or not at all: under a temporary name beside their place, then renamed.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::npy;
use crate::error::{Error, Result};

/// A file on its way. Dropped before [`OutputFile::finish`], it leaves nothing behind.
pub struct OutputFile {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    /// Renamed when it is whole.
    Temporary(BufWriter<NamedTempFile>),
    /// A device or a pipe, which nothing may take the place of.
    Direct(BufWriter<File>),
}

impl OutputFile {
    /// Makes sure that the file can be written, before there is anything to write. A link is followed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot.
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |source| write_failed(path, source);
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if path.exists() && !path.is_file() {
            let file = File::options().write(true).open(&path).map_err(failed)?;
            return Ok(Self {
                path,
                sink: Sink::Direct(BufWriter::new(file)),
            });
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::metadata(folder).map_err(failed)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gradprobe-");
        // A temporary file is the owner's alone by default; a result is what the umask says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(failed)?;
        Ok(Self {
            path,
            sink: Sink::Temporary(BufWriter::new(file)),
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.sink {
            Sink::Temporary(file) => file.write_all(bytes),
            Sink::Direct(file) => file.write_all(bytes),
        };
        written.map_err(|source| write_failed(&self.path, source))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be put there.
    pub fn finish(self) -> Result<()> {
        let failed = |source| write_failed(&self.path, source);
        match self.sink {
            Sink::Temporary(file) => {
                let file = file
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                file.persist(&self.path)
                    .map_err(|error| failed(error.error))?;
                Ok(())
            }
            Sink::Direct(mut file) => file.flush().map_err(failed),
        }
    }
}

/// The numeric gradient as an .npy file of f64, written a chunk of rows at a time.
pub struct NumericFile {
    file: OutputFile,
    /// Values that are yet to come.
    left: usize,
}

impl NumericFile {
    /// Begins a file of that shape.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path, shape: &[usize]) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        file.write(&npy::f64_header(shape))?;
        Ok(Self {
            file,
            left: shape.iter().product(),
        })
    }

    /// Appends the next values.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk does not take them.
    pub fn write(&mut self, values: &[f64]) -> Result<()> {
        self.left = self.left.saturating_sub(values.len());
        values
            .iter()
            .try_for_each(|value| self.file.write(&value.to_le_bytes()))
    }

    /// Puts the file in its place, if it is whole; else there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be put there.
    pub fn finish(self) -> Result<()> {
        match self.left {
            0 => self.file.finish(),
            _ => Ok(()),
        }
    }
}

fn write_failed(path: &Path, source: std::io::Error) -> Error {
    // Errors on a temporary file name it, and nobody has heard of it: then the kind says enough.
    let source = if source.raw_os_error().is_some() {
        source
    } else {
        source.kind().into()
    };
    Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    }
}
