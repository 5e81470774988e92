//! The spool folder: long bodies and rendered pages, one file each.

use std::{
    ffi::OsStr,
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::NamedTempFile;

use crate::{
    error::{Error, Result},
    io::{self, Source},
};

/// Prefix of the name of a file that does not belong to a job yet.
const PREFIX: &str = "part-";

/// A received body. Dropping it deletes it.
pub(in crate::serve) enum ReceivedBody {
    /// A short body, with the extension of its format. The database keeps it: a file of its own
    /// would take longer to create and sync than to write.
    Inline(&'static str, Arc<Vec<u8>>),
    /// A file of the spool folder, with the extension of its format.
    Spooled(NamedTempFile),
}

impl ReceivedBody {
    /// Returns the path of the body in error messages.
    pub(in crate::serve) fn path(&self) -> PathBuf {
        match self {
            Self::Inline(format, _) => PathBuf::from("part").with_extension(format),
            Self::Spooled(file) => file.path().to_owned(),
        }
    }

    /// Returns the body as a source of tensors.
    pub(in crate::serve) fn source(&self) -> Source {
        match self {
            Self::Inline(_, bytes) => Source::Bytes(self.path(), bytes.clone()),
            Self::Spooled(_) => Source::File(self.path()),
        }
    }
}

/// The spool folder.
pub(in crate::serve) struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns true if the folder holds bodies of jobs, not only unfinished files.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub(super) fn has_bodies(&self) -> Result<bool> {
        let entries = fs::read_dir(&self.folder).map_err(|source| self.failed(source))?;
        let is_body = |name: &OsStr| {
            io::format(Path::new(name)).is_ok() && !name.to_string_lossy().starts_with(PREFIX)
        };
        let mut names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        Ok(names.any(|name| is_body(&name)))
    }

    /// Creates a file that is deleted when dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created.
    pub(in crate::serve) fn create(&self, extension: &str) -> Result<NamedTempFile> {
        let suffix = format!(".{extension}");
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(&suffix);
        let file = builder.tempfile_in(&self.folder);
        file.map_err(|source| self.failed(source))
    }

    /// Syncs a file to the disk and gives it its final path. The database syncs the folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be synced or renamed.
    pub(super) fn keep(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        let synced = file.as_file().sync_all();
        let kept = synced.and_then(|()| file.persist(path).map_err(|error| error.error));
        kept.map(drop).map_err(|source| self.failed(source))
    }

    /// Writes the page of a body's report and returns its path.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. Then there is no page.
    pub(super) fn write_page(&self, body: &Path, text: &str) -> Result<PathBuf> {
        let path = page(body);
        let mut file = self.create("html")?;
        let written = file.write_all(text.as_bytes());
        written.map_err(|source| self.failed(source))?;
        self.keep(file, &path)?;
        Ok(path)
    }

    /// Removes the body and the page of a job.
    ///
    /// # Errors
    /// [`Error::Io`] if one of them exists and cannot be removed.
    pub(super) fn remove(&self, body_name: &str) -> Result<()> {
        let body = self.folder.join(body_name);
        remove(&body).and(remove(&page(&body)))
    }

    /// Removes files that belong to no job. A process leaves them if it ends while it writes or
    /// removes files.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or a file cannot be changed, and those of `is_job`.
    pub(super) fn remove_orphans(&self, is_job: impl Fn(&str) -> Result<bool>) -> Result<()> {
        let entries = fs::read_dir(&self.folder).map_err(|source| self.failed(source))?;
        for entry in entries {
            let path = entry.map_err(|source| self.failed(source))?.path();
            // Folders, such as lost+found, do not belong to the service.
            if !path.is_file() {
                continue;
            }
            let id = path.file_stem().unwrap_or_default().to_string_lossy();
            if !is_job(&id)? {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        failed(&self.folder, source)
    }
}

/// Returns the path of the page of a body's report.
pub(in crate::serve) fn page(body: &Path) -> PathBuf {
    body.with_extension("html")
}

/// Removes a file, if it exists.
///
/// # Errors
/// [`Error::Io`] if it exists and cannot be removed.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::io("write", path)(source)
}
