//! Opens the files that a problem is read from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    archive::{Archive, IS_NPY, broken, require_format},
    bytes::Budget,
    npy, safetensors, storage, url,
};
use crate::{
    error::{Error, Result},
    tensor::{Bytes, Tensor},
};

/// The files that hold a problem's tensors.
#[derive(Clone)]
pub enum Source {
    /// One .safetensors or .npz file.
    File(PathBuf),
    /// The contents of such a file, and a name for it.
    Bytes(PathBuf, Bytes),
    /// One .npy file per tensor, by the tensor's name.
    Separate(BTreeMap<String, PathBuf>),
    /// Tensors in memory, by name.
    Tensors(BTreeMap<String, Tensor>),
    /// The tensors of a source, and those that it lacks from one that it shares with others.
    Shared(Box<Source>, Box<Source>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(f)
    }
}

/// The name of tensors in memory in messages.
pub const IN_MEMORY: &str = "memory";

impl Source {
    /// Returns the name that messages use: the path, "the command line" for separate files, or
    /// [`IN_MEMORY`].
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Bytes(path, _) => path,
            Self::Separate(_) => Path::new("the command line"),
            Self::Tensors(_) => Path::new(IN_MEMORY),
            Self::Shared(source, _) => source.path(),
        }
    }

    /// Returns the source with its file open, so that several readers open it once. `memory` is
    /// that for arrays, in bytes.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Usage`] for an unknown format.
    pub(crate) fn opened(&self, memory: Option<usize>) -> Result<Self> {
        let Self::File(path) = self else {
            return Ok(self.clone());
        };
        format(path)?;
        let mut budget = Budget::default();
        budget.memory = memory.unwrap_or(budget.memory);
        let bytes = storage::open(path, budget)?;
        Ok(Self::Bytes(path.clone(), bytes))
    }

    /// Opens the files.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] if one cannot be read, [`Error::Usage`] for an unknown
    /// format.
    pub(super) fn open(&self, budget: Budget) -> Result<Box<dyn Archive + '_>> {
        let (path, bytes) = match self {
            Self::File(path) => (path, None),
            Self::Bytes(path, bytes) => (path, Some(bytes.clone())),
            Self::Separate(paths) => return Ok(Box::new(SeparateFiles { paths, budget })),
            Self::Tensors(tensors) => return Ok(Box::new(InMemory(tensors))),
            Self::Shared(source, shared) => {
                let archives = vec![source.open(budget)?, shared.open(budget)?];
                return Ok(Box::new(Together(archives)));
            }
        };
        open(path, bytes, budget)
    }
}

/// Opens a file, or its contents.
fn open<'a>(path: &Path, bytes: Option<Bytes>, budget: Budget) -> Result<Box<dyn Archive + 'a>> {
    // Reports a wrong name before it opens the file.
    let format = format(path)?;
    let bytes = bytes.map_or_else(|| storage::open(path, budget), Ok)?;
    match format {
        Format::Index => {
            bytes.fetch(0..bytes.bytes().len())?;
            sharded(path, bytes.bytes(), budget)
        }
        format => archive(path, format, bytes, budget),
    }
}

/// Bytes that are fetched at once from the start of a safetensors file: the header of most. Chosen.
const FIRST: usize = 16 << 10;

/// Reads a file of this format.
#[cfg_attr(not(feature = "npz"), allow(unused_variables))]
fn archive<'a>(
    path: &Path,
    format: Format,
    bytes: Bytes,
    budget: Budget,
) -> Result<Box<dyn Archive + 'a>> {
    let length = bytes.bytes().len();
    let first = match format {
        Format::Safetensors | Format::Index => length.min(FIRST),
        #[cfg(feature = "npz")]
        Format::Npz => length,
    };
    bytes.fetch(0..first)?;
    require_format(path, format.name(), bytes.bytes())?;
    Ok(match format {
        Format::Safetensors | Format::Index => {
            Box::new(safetensors::Safetensors::new(path, bytes)?)
        }
        #[cfg(feature = "npz")]
        Format::Npz => Box::new(super::npz::Npz::new(path, bytes, budget)?),
    })
}

/// Opens the files that the index of a sharded checkpoint names. Each holds some of the tensors.
fn sharded<'a>(path: &Path, index: &[u8], budget: Budget) -> Result<Box<dyn Archive + 'a>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, PathBuf>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| {
        let reason = format!("{error}; it needs a weight_map, from tensors to files");
        broken(path, "model.safetensors.index.json", reason)
    })?;
    let files: BTreeSet<PathBuf> = index.weight_map.into_values().collect();
    let open = |file: PathBuf| {
        // An index in an index is none, so no index is read without end.
        let file = url::beside(path, &file);
        archive(
            &file,
            Format::Safetensors,
            storage::open(&file, budget)?,
            budget,
        )
    };
    let archives = files.into_iter().map(open);
    Ok(Box::new(Together(archives.collect::<Result<_>>()?)))
}

/// A format of files that hold several named tensors.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Safetensors,
    /// The index of a checkpoint in several safetensors files.
    Index,
    #[cfg(feature = "npz")]
    Npz,
}

impl Format {
    /// Returns the format's name in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Safetensors | Self::Index => safetensors::FORMAT,
            #[cfg(feature = "npz")]
            Self::Npz => super::npz::FORMAT,
        }
    }
}

/// Returns the format that a file's name indicates.
///
/// # Errors
/// [`Error::Usage`] for any other extension than .safetensors and .npz.
pub(crate) fn format(path: &Path) -> Result<Format> {
    if path.to_string_lossy().ends_with(".safetensors.index.json") {
        return Ok(Format::Index);
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let reason = match extension.unwrap_or_default().to_lowercase().as_str() {
        "safetensors" => return Ok(Format::Safetensors),
        #[cfg(feature = "npz")]
        "npz" => return Ok(Format::Npz),
        #[cfg(not(feature = "npz"))]
        "npz" => {
            "is an .npz file, which this build of gradprobe cannot read; \
             use a .safetensors file, or build with --features npz"
        }
        "npy" => IS_NPY,
        _ => {
            "is neither a .safetensors nor an .npz file; \
             write one with safetensors.torch.save_file or numpy.savez"
        }
    };
    Err(Error::Usage(format!("{} {reason}", path.display())))
}

/// Returns true if the file is an archive with compressed members, which may take long to read for
/// its size. Returns false for a file that cannot be read, because reading it fails at once.
#[cfg(feature = "serve")]
pub(crate) fn is_packed(source: &Source) -> bool {
    let (path, bytes) = match source {
        Source::File(path) => (path, None),
        Source::Bytes(path, bytes) => (path, Some(bytes.clone())),
        Source::Separate(_) | Source::Tensors(_) | Source::Shared(..) => return false,
    };
    let map = || bytes.map_or_else(|| storage::open(path, Budget::default()), Ok);
    matches!(format(path), Ok(Format::Npz)) && map().is_ok_and(super::npz::is_packed)
}

/// Several archives as one. A name that is in more than one is that of the first.
struct Together<'a>(Vec<Box<dyn Archive + 'a>>);

impl Archive for Together<'_> {
    fn names(&self) -> Vec<String> {
        let names = self.0.iter().flat_map(|archive| archive.names());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn metadata(&self) -> Vec<String> {
        let names = self.0.iter().flat_map(|archive| archive.metadata());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let found = |archive: &mut Box<dyn Archive + '_>| archive.tensor(name).transpose();
        self.0.iter_mut().find_map(found).transpose()
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        self.0.iter_mut().find_map(|archive| archive.setting(name))
    }
}

/// Tensors in separate .npy files.
struct SeparateFiles<'a> {
    paths: &'a BTreeMap<String, PathBuf>,
    budget: Budget,
}

impl Archive for SeparateFiles<'_> {
    fn names(&self) -> Vec<String> {
        self.paths.keys().cloned().collect()
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let path = self.paths.get(name);
        path.map(|path| npy::open(path, self.budget)).transpose()
    }

    fn setting(&mut self, _name: &str) -> Option<String> {
        None
    }
}

/// Tensors in memory. Their settings are those of the request.
struct InMemory<'a>(&'a BTreeMap<String, Tensor>);

impl Archive for InMemory<'_> {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.0.get(name).cloned())
    }

    fn setting(&mut self, _name: &str) -> Option<String> {
        None
    }
}

#[cfg(all(test, feature = "serve"))]
mod tests {
    use super::*;

    #[test]
    fn detects_compressed_members_without_unpacking() {
        for (file, packed) in [
            ("compressed.npz", true),
            ("right.npz", false),
            ("truncated.npz", false),
            ("right.safetensors", false),
        ] {
            let source = Source::File(Path::new("tests/cli/data").join(file));
            assert_eq!(is_packed(&source), packed, "{file}");
        }
    }
}
