//! Which jobs are being checked, in a file that outlives the process. What it still names when the next one starts was begun, and then the
//! process ended without a word: that check may be the cause.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::error::{Error, Result};

/// Bytes of a place, which holds a job's id.
const PLACE: usize = 64;

pub(super) struct UnderWay {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// One in the other.
    ids: Vec<String>,
    /// Whether an end of the process says nothing of them any more.
    is_excused: bool,
}

impl UnderWay {
    /// Opens the file, and empties it; with the ids that it named.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read and written.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<String>)> {
        let named = fs::read(path).unwrap_or_default();
        let named = named.chunks(PLACE).map(String::from_utf8_lossy);
        let named = named.map(|id| id.trim().to_owned());
        let named = named.filter(|id| !id.is_empty()).collect();
        let under_way = Self {
            path: path.to_owned(),
            inner: Mutex::new(Inner {
                file: File::create(path).map_err(Error::io("write", path))?,
                ids: Vec::new(),
                is_excused: false,
            }),
        };
        Ok((under_way, named))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is begun. It is named before this returns: not on the disk, which only a power cut needs.
    pub(super) fn begin(&self, id: &str) {
        let mut inner = self.inner();
        let place = inner.ids.len();
        inner.ids.push(id.to_owned());
        if !inner.is_excused {
            self.put(&mut inner, place, id);
        }
    }

    /// What was begun last has ended, in whatever way.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.ids.pop();
        let place = inner.ids.len();
        self.put(&mut inner, place, "");
    }

    pub(super) fn is_idle(&self) -> bool {
        self.inner().ids.is_empty()
    }

    /// From here on the process may end at any time, by no fault of what is checked.
    pub(super) fn excuse(&self) {
        let mut inner = self.inner();
        inner.is_excused = true;
        for place in 0..inner.ids.len() {
            self.put(&mut inner, place, "");
        }
    }

    fn put(&self, inner: &mut Inner, place: usize, id: &str) {
        let start = SeekFrom::Start((place * PLACE) as u64);
        let text = format!("{id:<PLACE$}");
        let put = inner
            .file
            .seek(start)
            .and_then(|_| inner.file.write_all(text.as_bytes()));
        if let Err(error) = put {
            // Then it is only begun once more than it should be.
            tracing::warn!("{}", Error::io("write", &self.path)(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_ended_is_named_unless_it_is_excused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("under-way");
        let open = || UnderWay::open(&path).unwrap();
        let (first, named) = open();
        assert!(named.is_empty());
        first.begin("outer");
        first.begin("ended");
        first.end();
        first.begin("inner");
        // The process is killed.
        let (second, named) = open();
        assert_eq!(named, ["outer", "inner"]);
        second.begin("outer");
        second.end();
        let (third, named) = open();
        assert!(named.is_empty());
        third.begin("outer");
        third.excuse();
        third.begin("inner");
        assert!(open().1.is_empty());
    }
}
