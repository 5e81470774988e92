//! The token that a service asks for and a client sends.

use std::path::Path;

use crate::error::{Error, Result};

/// Reads the first line of a file, which must be hard to guess.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Usage`] if the line is too short or not printable.
pub(super) fn token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() >= 16 && is_plain {
        return Ok(token.to_owned());
    }
    Err(Error::Usage(format!(
        "{} holds no token: its first line must have 16 characters or more, without spaces",
        path.display()
    )))
}
