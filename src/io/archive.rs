//! The interface that the readers of all formats share.

use std::path::Path;

use crate::{
    error::{Error, Result},
    tensor::Tensor,
};

/// One file or several that hold named tensors.
pub(super) trait Archive {
    /// Returns the tensors' names, sorted.
    fn names(&self) -> Vec<String>;

    /// Returns the names of the settings, in a format that keeps them apart from the tensors.
    fn metadata(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the tensor with this name, or `None` if there is none.
    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>>;

    /// Returns a string or number that is stored beside the tensors, such as the reduction.
    fn setting(&mut self, name: &str) -> Option<String>;
}

/// Returns the error for a file that does not follow its format.
pub(crate) fn broken(path: &Path, format: &'static str, reason: impl ToString) -> Error {
    Error::Format {
        path: path.to_owned(),
        format,
        reason: reason.to_string(),
    }
}

/// The advice on an .npy file where a file of several tensors is expected.
pub(super) const IS_NPY: &str = "is an .npy file, which holds a single tensor; \
     name each one: --input X.npy --weight W.npy --target T.npy --grad G.npy";

/// Requires that the first bytes of a file do not show another format than `format`, the one that
/// its name indicates.
///
/// # Errors
/// [`Error::Format`] with what to do.
pub(super) fn require_format(path: &Path, format: &'static str, bytes: &[u8]) -> Result<()> {
    let reason = if bytes.starts_with(b"version https://git-lfs") {
        "is a Git LFS pointer; run git lfs pull to fetch the file itself"
    } else if bytes.starts_with(b"PK\x03\x04") && format != "npz" {
        "is a zip archive; rename it if it is an .npz file; if PyTorch saved it, load it with \
         torch.load and write it with safetensors.torch.save_file"
    } else if bytes.starts_with(b"\x93NUMPY") && format != "npy" {
        IS_NPY
    } else if bytes.get(8..10) == Some(b"{\"") && format != "safetensors" {
        "is a safetensors file; rename it"
    } else {
        return Ok(());
    };
    Err(broken(path, format, format!("it {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_the_formats_of_others() {
        let reason = |format, bytes: &[u8]| match require_format(Path::new("a"), format, bytes) {
            Err(error) => error.to_string(),
            Ok(()) => String::new(),
        };
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n";
        for format in ["safetensors", "npz", "npy"] {
            assert!(reason(format, pointer).contains("git lfs pull"));
        }
        assert!(reason("safetensors", b"PK\x03\x04..").contains("torch.load"));
        assert!(reason("safetensors", b"\x93NUMPY").contains("--input X.npy"));
        assert!(reason("npz", b"\x08\0\0\0\0\0\0\0{\"a\":1}").contains("rename it"));
        assert_eq!(reason("npz", b"PK\x03\x04.."), "");
        assert_eq!(reason("npy", b"\x93NUMPY"), "");
        assert_eq!(reason("safetensors", b"\x08\0\0\0\0\0\0\0{\"a\":1}"), "");
        assert_eq!(reason("safetensors", b""), "");
    }
}
