//! Writes result files that are either complete or absent.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file that appears under its name once it is complete. If it is dropped before
/// [`OutputFile::finish`], it leaves nothing behind.
pub struct OutputFile {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    /// A file in the same folder, renamed when it is complete.
    Temporary(BufWriter<NamedTempFile>),
    /// A device or a pipe, such as /dev/null, which must not be replaced by a file.
    Direct(BufWriter<File>),
}

impl OutputFile {
    /// Opens the file, so that a path that cannot be written fails before anything is computed.
    /// Follows symbolic links.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
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
        // By default only the owner can read a temporary file. A result file gets the permissions
        // that the umask allows.
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
    /// [`Error::Io`] if they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.sink {
            Sink::Temporary(file) => file.write_all(bytes),
            Sink::Direct(file) => file.write_all(bytes),
        };
        written.map_err(|source| write_failed(&self.path, source))
    }

    /// Renames the file to its final name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be renamed.
    pub fn finish(self) -> Result<()> {
        let failed = |source| write_failed(&self.path, source);
        match self.sink {
            Sink::Temporary(file) => {
                let file = file.into_inner();
                let file = file.map_err(|error| failed(error.into_error()))?;
                let persisted = file.persist(&self.path);
                persisted.map_err(|error| failed(error.error))?;
                Ok(())
            }
            Sink::Direct(mut file) => file.flush().map_err(failed),
        }
    }
}

/// Returns the error for a failed write. An error of the temporary file contains the name of that
/// file, which means nothing to the user, so only its kind is kept.
fn write_failed(path: &Path, source: std::io::Error) -> Error {
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
