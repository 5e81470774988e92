//! The reserve: disk space that is released when the disk is full. Deleting jobs needs some.

use std::{fs, path::PathBuf};

use super::spool::remove;
use crate::error::Result;

/// Bytes of the reserve. Derived: SQLite's write-ahead log grows to about half of it (1000 pages of
/// 4 KiB), and moving the log into the database may need as much again.
const BYTES: usize = 8 << 20;

/// A file of zeros.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Fills the reserve, or a half, a quarter or an eighth of it if the disk has no room for more.
    pub(super) fn fill(&self) {
        if fs::metadata(&self.path).is_ok_and(|it| it.len() >= BYTES as u64) {
            return;
        }
        for share in [1, 2, 4, 8] {
            match fs::write(&self.path, vec![0; BYTES / share]) {
                Ok(()) => return,
                // A partly written file takes room that other files need.
                Err(_) => drop(remove(&self.path)),
            }
        }
    }

    /// Frees the space.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if the file cannot be removed.
    pub(super) fn release(&self) -> Result<()> {
        remove(&self.path)
    }
}
