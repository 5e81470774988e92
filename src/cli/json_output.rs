//! The destination of `--json`.

use std::path::Path;

use super::stdout::print;
use crate::{error::Result, io::OutputFile};

/// The destination of a JSON document beside, or in place of, the text on stdout.
pub(super) enum JsonOutput {
    None,
    /// `-`: stdout, in place of the text.
    Stdout,
    File(OutputFile),
}

impl JsonOutput {
    /// Opens the destination, so that a path that cannot be written fails before anything is
    /// computed.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be written.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        Ok(match path {
            None => Self::None,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(OutputFile::create(path)?),
        })
    }

    /// Writes the JSON document to its destination and, unless that is stdout, the text to stdout.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if one of them cannot be written.
    pub(super) fn deliver(
        self,
        json: impl FnOnce() -> String,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        match self {
            Self::Stdout => return print(&json()),
            Self::None => {}
            Self::File(mut file) => {
                file.write(json().as_bytes())?;
                file.finish()?;
            }
        }
        print(&text())
    }
}
