//! Addresses of objects in stores, in the place of files' paths.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The schemes that can be read: S3, Google Cloud Storage, Azure, and any server of files.
const SCHEMES: [&str; 5] = ["s3", "gs", "az", "https", "http"];

/// Returns true for the address of an object: a scheme, `://`, and a path.
pub(crate) fn is_url(path: &Path) -> bool {
    scheme(path).is_some()
}

fn scheme(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    let is_scheme = |character: char| character.is_ascii_alphanumeric();
    (scheme.len() > 1 && scheme.chars().all(is_scheme)).then_some(scheme)
}

/// Returns the path of a file that `index` names, relative to the index's own place.
pub(crate) fn beside(index: &Path, file: &Path) -> PathBuf {
    if is_url(file) {
        return file.to_owned();
    }
    match index.to_str().and_then(|index| index.rsplit_once('/')) {
        Some((folder, _)) if is_url(index) => format!("{folder}/{}", file.display()).into(),
        _ => index.parent().unwrap_or(Path::new("")).join(file),
    }
}

/// Requires an address of a known scheme that holds no credential: it is printed in reports.
///
/// # Errors
/// [`Error::Usage`].
pub(super) fn require_readable(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let scheme = scheme(path).unwrap_or_default();
    if !SCHEMES.contains(&scheme) {
        return Err(Error::Usage(format!(
            "{text}: the address must start with s3://, gs://, az://, https:// or http://"
        )));
    }
    let place = text[scheme.len() + 3..].split('/').next();
    if place.is_some_and(|place| place.contains('@')) || text.contains(['?', '#']) {
        // Not repeated: it may hold a password or a signature.
        return Err(Error::Usage(format!(
            "an address of {scheme}:// must hold no user, no ? and no #: it is printed in reports. \
             Credentials are taken from environment variables, such as AWS_ACCESS_KEY_ID"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_addresses_from_paths() {
        for url in ["s3://bucket/a.npz", "https://host/a.npz", "ftp://host/a"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in ["a.npz", "/a/b.npz", "C:\\a.npz", "c://a", "a b://c", "://"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn files_lie_beside_their_index() {
        let beside = |index: &str, file: &str| beside(Path::new(index), Path::new(file));
        let bucket = "s3://bucket/run/gradprobe.index.json";
        assert_eq!(beside(bucket, "a.npz"), Path::new("s3://bucket/run/a.npz"));
        assert_eq!(beside(bucket, "gs://b/a.npz"), Path::new("gs://b/a.npz"));
        assert_eq!(beside("run/i.json", "gs://b/a"), Path::new("gs://b/a"));
        assert_eq!(beside("run/i.json", "a.npz"), Path::new("run/a.npz"));
        assert_eq!(beside("i.json", "a.npz"), Path::new("a.npz"));
        assert_eq!(beside("run/i.json", "/b/a.npz"), Path::new("/b/a.npz"));
    }

    #[test]
    fn an_address_with_a_credential_is_refused_and_not_repeated() {
        for url in [
            "https://me:secret@host/a.npz",
            "https://host/a.npz?sig=secret",
            "s3://secret@bucket/a.npz",
            "https://host/a.npz#secret",
        ] {
            let message = require_readable(Path::new(url)).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(require_readable(Path::new("ftp://host/a.npz")).is_err());
        assert!(require_readable(Path::new("s3://bucket/a@b.npz")).is_ok());
    }
}
