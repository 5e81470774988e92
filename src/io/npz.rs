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
            .map_err(|reason| broken(path, FORMAT, format!("{reason} (is it cut short?)")))?;
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
        let member = format!("{name}.npy");
        if !self.members().contains(&member) {
            return Ok(None);
        }
        let failed = |reason: String| broken(&self.path, FORMAT, format!("{member}: {reason}"));
        let mut file = self
            .archive
            .by_name(&member)
            .map_err(|reason| failed(reason.to_string()))?;
        // The size is the archive's own word: it grows as the bytes come.
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|reason| failed(reason.to_string()))?;
        npy::parse(
            &self.path,
            FORMAT,
            &format!("{} in {}", member, self.path.display()),
            Arc::new(bytes),
        )
        .map(Some)
    }
}
