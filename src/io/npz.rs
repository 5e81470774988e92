//! NumPy's npz format: a zip archive of npy files.

use std::{
    io::{Cursor, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytesize::ByteSize;
use zip::{CompressionMethod, ZipArchive};

use super::{
    archive::{Archive, broken},
    bytes::{self, Budget},
    npy,
};
use crate::{
    error::Result,
    tensor::{Bytes, Tensor},
};

pub(super) const FORMAT: &str = "npz";

/// The bytes read to find an array's header, 128 KiB. Version 1 headers end within 64 KiB; NumPy
/// writes longer ones only for structured types, which are refused.
const HEADER: u64 = 1 << 17;

pub(super) struct Npz {
    path: PathBuf,
    bytes: Bytes,
    archive: ZipArchive<Cursor<Shared>>,
    budget: Budget,
}

/// The mapped bytes, as `AsRef<[u8]>` for `Cursor`.
struct Shared(Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Returns true if a member of the archive is compressed.
#[cfg(feature = "serve")]
pub(super) fn is_packed(bytes: Bytes) -> bool {
    let Ok(mut archive) = ZipArchive::new(Cursor::new(Shared(bytes))) else {
        return false;
    };
    (0..archive.len()).any(|index| {
        let member = archive.by_index_raw(index);
        member.is_ok_and(|member| member.compression() != CompressionMethod::Stored)
    })
}

impl Npz {
    pub(super) fn new(path: &Path, bytes: Bytes, budget: Budget) -> Result<Self> {
        let archive = ZipArchive::new(Cursor::new(Shared(bytes.clone())));
        let archive =
            archive.map_err(|_| broken(path, FORMAT, "it is truncated, or not a zip archive"))?;
        if archive.has_duplicate_names() {
            return Err(broken(path, FORMAT, "two of its members have one name"));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            archive,
            budget,
        })
    }

    fn members(&self) -> Vec<String> {
        let names = self.archive.file_names();
        names
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect()
    }

    /// Returns the bytes that hold a member's npy file, and its range in them. Returns `None` if
    /// there is no such member.
    ///
    /// 1. A stored member is a range of the mapping.
    /// 2. For a compressed member, the header is inflated first. It declares the size of the array.
    ///    The size in the zip directory is not used, because a hostile file can declare any.
    /// 3. The rest is inflated, up to one byte more than declared. [`npy::parse`] then detects a
    ///    longer member, and a small file can fill neither memory nor disk.
    fn member(&mut self, name: &str) -> Result<Option<(Bytes, Range<usize>)>> {
        let member = format!("{name}.npy");
        if !self.members().contains(&member) {
            return Ok(None);
        }
        let failed = |reason: &dyn std::fmt::Display| {
            broken(&self.path, FORMAT, format!("{member}: {reason}"))
        };
        let file = self.archive.by_name(&member);
        let mut file = file.map_err(|reason| failed(&reason))?;
        if file.compression() == CompressionMethod::Stored
            && file.compressed_size() == file.size()
            && let Some(start) = file.data_start()
        {
            let range = start as usize..start.saturating_add(file.size()) as usize;
            if self.bytes.bytes().get(range.clone()).is_none() {
                return Err(failed(&"it is truncated"));
            }
            return Ok(Some((self.bytes.clone(), range)));
        }
        let mut head = Vec::new();
        let read = (&mut file).take(HEADER).read_to_end(&mut head);
        read.map_err(|reason| failed(&reason))?;
        let size = npy::array_size(&head).map_or(head.len(), |size| size.saturating_add(1));
        if size > self.budget.unpacked {
            let most = ByteSize::b(self.budget.unpacked as u64);
            return Err(failed(&format!("it unpacks to more than {most}")));
        }
        let rest = file.take((size - size.min(head.len())) as u64);
        let unpacked = if size <= self.budget.inflated() {
            unpack_to_memory(head, rest)
        } else {
            unpack_to_file(&head, rest, self.budget)
        };
        let unpacked = unpacked.map_err(|reason| failed(&reason))?;
        let range = 0..unpacked.bytes().len();
        Ok(Some((unpacked, range)))
    }
}

fn unpack_to_memory(mut head: Vec<u8>, mut rest: impl Read) -> std::io::Result<Bytes> {
    rest.read_to_end(&mut head)?;
    Ok(Arc::new(head))
}

/// Writes `head` and `rest` to a temporary file and maps it. The file has no name, so it disappears
/// with the mapping.
fn unpack_to_file(head: &[u8], mut rest: impl Read, budget: Budget) -> std::io::Result<Bytes> {
    let mut file = tempfile::tempfile()?;
    file.write_all(head)?;
    std::io::copy(&mut rest, &mut file)?;
    bytes::Mapping::new(&file, budget).map(|it| Arc::new(it) as Bytes)
}

impl Archive for Npz {
    fn names(&self) -> Vec<String> {
        let mut names = self.members();
        for name in &mut names {
            let stem = name.strip_suffix(".npy").unwrap_or(name).len();
            name.truncate(stem);
        }
        names.sort();
        names
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let Some((bytes, range)) = self.member(name)? else {
            return Ok(None);
        };
        let called = format!("{name} in {}", self.path.display());
        npy::parse(&self.path, FORMAT, &called, bytes, range, self.budget).map(Some)
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        // A setting that cannot be read must not count as absent. The caller reports this text as
        // an invalid value.
        let unreadable = || Some("an array that is not one string or number".to_owned());
        match self.member(name) {
            Ok(None) => None,
            Ok(Some((bytes, range))) => {
                let is_small = range.len() as u64 <= HEADER;
                let text = is_small.then(|| npy::scalar(bytes.bytes()[range].to_vec()));
                text.flatten().or_else(unreadable)
            }
            Err(_) => unreadable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(file: &str, memory: usize) -> Vec<f64> {
        let path = Path::new("tests/cli/data").join(file);
        let budget = Budget::of(memory);
        let bytes = bytes::map(&path, budget).unwrap();
        let mut archive = Npz::new(&path, bytes, budget).unwrap();
        archive.tensor("input").unwrap().unwrap().values()
    }

    /// Reads the same member mapped, inflated into memory, and inflated into a temporary file.
    #[test]
    fn members_are_the_same_wherever_they_lie() {
        let stored = input("right.npz", 1 << 20);
        assert!(!stored.is_empty());
        for (file, memory) in [
            ("right.npz", 16),
            ("compressed.npz", 1 << 20),
            ("compressed.npz", 16),
        ] {
            assert_eq!(input(file, memory), stored, "{file} {memory}");
        }
    }
}
