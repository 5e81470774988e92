//! Parsers for the values of flags. Their errors complete clap's "invalid value".

use bytesize::ByteSize;

/// The least value of `--memory`, chosen: with less, a problem of ordinary size does not fit.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number of at least 1"),
    }
}

pub(super) fn memory(text: &str) -> Result<ByteSize, String> {
    match bytes(text)? {
        size if size >= LEAST_MEMORY => Ok(size),
        _ => Err(format!("expected at least {LEAST_MEMORY}")),
    }
}

pub(super) fn bytes(text: &str) -> Result<ByteSize, &'static str> {
    let size = text.parse();
    size.map_err(|_| "expected a size, such as 1GiB or 500MB")
}
