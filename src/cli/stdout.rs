//! The standard output.

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};

use crate::error::{Error, Result};

/// Writes to stdout. A reader that closed the pipe, such as `head`, is not an error.
///
/// # Errors
/// [`Error::Io`] if stdout cannot be written.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(Error::Io {
            action: "write",
            path: PathBuf::from("stdout"),
            source,
        }),
        _ => Ok(()),
    }
}

/// Returns true if text on this stream may be coloured: on a terminal, unless NO_COLOR is set.
pub(super) fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}
