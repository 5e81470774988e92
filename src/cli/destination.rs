//! The destination of a document: a file, stdout, or none.

use std::path::Path;

use super::stdout::print;
use crate::{
    error::{Error, Result},
    io::OutputFile,
};

/// The destination of a document beside, or in place of, the text on stdout.
pub(super) enum Destination {
    None,
    /// `-`: stdout, in place of the text.
    Stdout,
    File(OutputFile),
}

impl Destination {
    /// Opens the destination, so that a path that cannot be written fails before anything is
    /// computed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        Ok(match path {
            None => Self::None,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(OutputFile::create(path)?),
        })
    }

    /// Returns true if the document goes to stdout.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes the document.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub(super) fn write(self, document: impl FnOnce() -> String) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Stdout => print(&document()),
            Self::File(mut file) => {
                file.write(document().as_bytes())?;
                file.finish()
            }
        }
    }
}

/// Checks that at most one document goes to stdout.
///
/// # Errors
/// [`Error::Usage`] if the paths of two flags are `-`.
pub(super) fn require_one_stdout(paths: &[(&str, Option<&Path>)]) -> Result<()> {
    let on_stdout = paths
        .iter()
        .filter(|(_, path)| path.is_some_and(|path| path.as_os_str() == "-"));
    let flags: Vec<&str> = on_stdout.map(|(flag, _)| *flag).collect();
    match flags.as_slice() {
        [one, other, ..] => Err(Error::Usage(format!(
            "{one} and {other} are both -, but stdout takes one of them; give a file for the other"
        ))),
        _ => Ok(()),
    }
}
