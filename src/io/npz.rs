//! NumPy's .npz format: a zip archive of .npy files.

use std::{
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use zip::ZipArchive;

use super::{Archive, broken, bytes, npy};
use crate::{
    error::Result,
    tensor::{Bytes, Tensor},
};

const FORMAT: &str = "npz";

/// Bytes in which an array's header certainly ends.
const HEADER: u64 = 1 << 17;

pub(super) struct Npz {
    path: PathBuf,
    archive: ZipArchive<Cursor<Shared>>,
}

/// The mapping, as `Cursor` wants it.
struct Shared(Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Npz {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = Shared(bytes::map(path)?);
        let archive = ZipArchive::new(Cursor::new(bytes))
            .map_err(|_| broken(path, FORMAT, "it is cut short, or no zip archive"))?;
        Ok(Self {
            path: path.to_owned(),
            archive,
        })
    }

    fn members(&self) -> Vec<String> {
        self.archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect()
    }

    /// The bytes of a member. The archive's own word on its size is not taken: an array's header says how long it
    /// is, and no more than one byte beyond that is read, so that a small file cannot fill the memory.
    fn member(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let member = format!("{name}.npy");
        if !self.members().contains(&member) {
            return Ok(None);
        }
        let failed = |reason: &dyn std::fmt::Display| {
            broken(&self.path, FORMAT, format!("{member}: {reason}"))
        };
        let mut file = self
            .archive
            .by_name(&member)
            .map_err(|reason| failed(&reason))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(HEADER)
            .read_to_end(&mut bytes)
            .map_err(|reason| failed(&reason))?;
        if let Some(rest) =
            npy::length(&bytes).and_then(|length| (length + 1).checked_sub(bytes.len()))
        {
            file.take(rest as u64)
                .read_to_end(&mut bytes)
                .map_err(|reason| failed(&reason))?;
        }
        Ok(Some(bytes))
    }
}

impl Archive for Npz {
    fn names(&self) -> Vec<String> {
        let mut names = self.members();
        names
            .iter_mut()
            .for_each(|name| name.truncate(name.strip_suffix(".npy").unwrap_or(name).len()));
        names.sort();
        names
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let Some(bytes) = self.member(name)? else {
            return Ok(None);
        };
        let called = format!("{name} in {}", self.path.display());
        npy::parse(&self.path, FORMAT, &called, Arc::new(bytes)).map(Some)
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        // What is there and cannot be understood must not be passed over.
        let unreadable = || Some("an array that is not one string or number".to_owned());
        self.member(name)
            .ok()?
            .and_then(|bytes| npy::scalar(bytes).or_else(unreadable))
    }
}
