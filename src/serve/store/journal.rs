//! The journal: ids of the running jobs, in a file that outlives the process.
//!
//! Ids in the file when a process opens it belong to jobs that were running when the previous
//! process crashed. One of these jobs may be the cause.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::error::{Error, Result};

/// Bytes of an entry: an id has 32, padded with spaces.
const ENTRY: usize = 64;

/// The journal.
pub(in crate::serve) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// Ids of the running jobs; each job overtook the previous one.
    ids: Vec<String>,
    /// True once a crash is no longer blamed on the running jobs.
    is_forgiven: bool,
}

impl Journal {
    /// Opens and empties the file, and returns the ids that were in it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read and written.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<String>)> {
        let content = fs::read(path).unwrap_or_default();
        let ids = content.chunks(ENTRY).map(String::from_utf8_lossy);
        let ids = ids.map(|id| id.trim().to_owned());
        let ids = ids.filter(|id| !id.is_empty()).collect();
        let journal = Self {
            path: path.to_owned(),
            inner: Mutex::new(Inner {
                file: File::create(path).map_err(Error::io("write", path))?,
                ids: Vec::new(),
                is_forgiven: false,
            }),
        };
        Ok((journal, ids))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step: a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a job starts. The record outlives a crash of the process as soon as this
    /// returns. It need not outlive a power cut, so it is not synced to the disk.
    pub(in crate::serve) fn begin(&self, id: &str) {
        let mut inner = self.inner();
        let place = inner.ids.len();
        inner.ids.push(id.to_owned());
        if !inner.is_forgiven {
            self.write(&mut inner, place, id);
        }
    }

    /// Records that the job that started last has ended.
    pub(in crate::serve) fn end(&self) {
        let mut inner = self.inner();
        inner.ids.pop();
        let place = inner.ids.len();
        self.write(&mut inner, place, "");
    }

    pub(in crate::serve) fn is_idle(&self) -> bool {
        self.inner().ids.is_empty()
    }

    /// Removes all ids, now and later: from here on the process may be killed at any time.
    pub(in crate::serve) fn forgive(&self) {
        let mut inner = self.inner();
        inner.is_forgiven = true;
        for place in 0..inner.ids.len() {
            self.write(&mut inner, place, "");
        }
    }

    fn write(&self, inner: &mut Inner, place: usize, id: &str) {
        let start = SeekFrom::Start((place * ENTRY) as u64);
        let entry = format!("{id:<ENTRY$}");
        let written = inner
            .file
            .seek(start)
            .and_then(|_| inner.file.write_all(entry.as_bytes()));
        if let Err(error) = written {
            // At worst, a job is retried once more than the limit.
            tracing::warn!("{}", Error::io("write", &self.path)(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_jobs_that_a_crash_interrupted_unless_forgiven() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("under-way");
        let open = || Journal::open(&path).unwrap();
        let (first, ids) = open();
        assert!(ids.is_empty());
        first.begin("outer");
        first.begin("ended");
        first.end();
        first.begin("inner");
        // The process is killed here.
        let (second, ids) = open();
        assert_eq!(ids, ["outer", "inner"]);
        second.begin("outer");
        second.end();
        let (third, ids) = open();
        assert!(ids.is_empty());
        third.begin("outer");
        third.forgive();
        third.begin("inner");
        assert!(open().1.is_empty());
    }
}
