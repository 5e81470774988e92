//! NumPy's .npz format: a zip archive of .npy files.

use std::{
    io::{Cursor, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytesize::ByteSize;
use zip::{CompressionMethod, ZipArchive};

use super::{
    Archive, broken,
    bytes::{self, Budget},
    npy,
};
use crate::{
    error::Result,
    tensor::{Bytes, Tensor},
};

const FORMAT: &str = "npz";

/// Bytes in which an array's header certainly ends.
const HEADER: u64 = 1 << 17;

pub(super) struct Npz {
    path: PathBuf,
    bytes: Bytes,
    archive: ZipArchive<Cursor<Shared>>,
    budget: Budget,
}

/// The mapping, as `Cursor` wants it.
struct Shared(Bytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Whether a member of it is not only stored.
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
        let archive = ZipArchive::new(Cursor::new(Shared(bytes.clone())))
            .map_err(|_| broken(path, FORMAT, "it is cut short, or no zip archive"))?;
        if archive.has_duplicate_names() {
            return Err(broken(
                path,
                FORMAT,
                "two of its members have the same name",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            archive,
            budget,
        })
    }

    fn members(&self) -> Vec<String> {
        self.archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect()
    }

    /// Where the bytes of a member lie: in the mapping, if it is only stored; else in memory, or if it is large in a temporary file.
    /// The archive's own word on its size is not taken: an array's header says how long it is, and no more than one byte beyond
    /// that is read, so that a small file can fill neither memory nor disk.
    fn member(&mut self, name: &str) -> Result<Option<(Bytes, Range<usize>)>> {
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
        if file.compression() == CompressionMethod::Stored
            && file.compressed_size() == file.size()
            && let Some(start) = file.data_start()
        {
            let place = start as usize..start.saturating_add(file.size()) as usize;
            if self.bytes.bytes().get(place.clone()).is_none() {
                return Err(failed(&"it is cut short"));
            }
            return Ok(Some((self.bytes.clone(), place)));
        }
        let mut bytes = Vec::new();
        (&mut file)
            .take(HEADER)
            .read_to_end(&mut bytes)
            .map_err(|reason| failed(&reason))?;
        let length = npy::length(&bytes).map_or(bytes.len(), |length| length.saturating_add(1));
        if length > self.budget.unpacked {
            let most = ByteSize::b(self.budget.unpacked as u64);
            return Err(failed(&format!("it unpacks to more than {most}")));
        }
        let rest = (length - length.min(bytes.len())) as u64;
        let stored = if length <= self.budget.inflated() {
            file.take(rest)
                .read_to_end(&mut bytes)
                .map(|_| Arc::new(bytes) as Bytes)
        } else {
            spooled(&bytes, file.take(rest), self.budget)
        };
        let stored = stored.map_err(|reason| failed(&reason))?;
        let place = 0..stored.bytes().len();
        Ok(Some((stored, place)))
    }
}

/// `head` and what follows it, in a temporary file that has no name and goes with the mapping.
fn spooled(head: &[u8], mut rest: impl Read, budget: Budget) -> std::io::Result<Bytes> {
    let mut file = tempfile::tempfile()?;
    file.write_all(head)?;
    std::io::copy(&mut rest, &mut file)?;
    bytes::map_file(&file, budget)
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
        let Some((bytes, place)) = self.member(name)? else {
            return Ok(None);
        };
        let called = format!("{name} in {}", self.path.display());
        npy::parse(&self.path, FORMAT, &called, bytes, place, self.budget).map(Some)
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        // What is there and cannot be understood must not be passed over.
        let unreadable = || Some("an array that is not one string or number".to_owned());
        self.member(name).ok()?.and_then(|(bytes, place)| {
            let is_small = place.len() as u64 <= HEADER;
            let text = is_small.then(|| npy::scalar(bytes.bytes()[place].to_vec()));
            text.flatten().or_else(unreadable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Source, is_packed};

    #[test]
    fn what_is_packed_is_known_before_it_is_unpacked() {
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

    fn input(file: &str, budget: usize) -> Vec<f64> {
        let path = Path::new("tests/cli/data").join(file);
        let budget = Budget::of(budget);
        let bytes = bytes::map(&path, budget).unwrap();
        let mut archive = Npz::new(&path, bytes, budget).unwrap();
        archive.tensor("input").unwrap().unwrap().values()
    }

    /// Stored members are mapped, others inflated into memory, or into a temporary file.
    #[test]
    fn members_are_the_same_wherever_they_lie() {
        let stored = input("right.npz", 1 << 20);
        assert!(!stored.is_empty());
        for (file, budget) in [
            ("right.npz", 16),
            ("compressed.npz", 1 << 20),
            ("compressed.npz", 16),
        ] {
            assert_eq!(input(file, budget), stored, "{file} {budget}");
        }
    }
}
