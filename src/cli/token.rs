//! The token that a service requires and a client sends.

use std::path::Path;

use crate::error::{Error, Result};

/// The shortest token, chosen: 16 random hexadecimal digits are 64 bits.
const SHORTEST: usize = 16;

/// Reads a token from the first line of a file.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Usage`] if the line is too short to be hard
/// to guess, or not printable.
pub(super) fn token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() >= SHORTEST && is_plain {
        return Ok(token.to_owned());
    }
    Err(Error::Usage(format!(
        "{} holds no token: the first line must have at least {SHORTEST} printable ASCII \
         characters and no spaces",
        path.display()
    )))
}
