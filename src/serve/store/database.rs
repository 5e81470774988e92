//! SQLite with one writing thread. Changes that wait at the same time are committed together, since
//! each commit waits for the disk. Readers wait for no writer.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Error, Result};

/// A database. Dropping it waits for all changes.
pub(super) struct Database {
    path: PathBuf,
    /// `None`, like `changes`, once the database is being closed.
    reader: Option<Mutex<Connection>>,
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

type Work = dyn Fn(&Connection) -> rusqlite::Result<()> + Send;

/// A change, to be made in a transaction.
struct Change {
    /// Runs again if a change beside it has failed.
    work: Box<Work>,
    /// True if the change refers to a new file of the folder.
    has_file: bool,
    /// Receives the result once it is on the disk.
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Database {
    /// Opens a database with the tables of a layout, and creates it if there is none. Its rows
    /// refer to files in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read and written, [`Error::Format`] if it has other tables or
    /// is no database.
    pub(super) fn open(path: &Path, folder: &Path, tables: &str, layout: i64) -> Result<Self> {
        let sqlite = |error| failed(path, error);
        let (connection, found) = open(path, tables, layout).map_err(sqlite)?;
        if found != layout {
            return Err(Error::Format {
                path: path.to_owned(),
                format: "job database",
                reason: format!("its layout is {found}; this version of gradprobe uses {layout}"),
            });
        }
        let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let (changes, received) = mpsc::channel();
        let writer = Writer {
            connection,
            path: path.to_owned(),
            folder: folder.to_owned(),
        };
        let builder = std::thread::Builder::new().name("database".to_owned());
        let thread = builder.spawn(move || writer.run(&received));
        Ok(Self {
            path: path.to_owned(),
            reader: Some(Mutex::new(reader.map_err(sqlite)?)),
            changes: Some(changes),
            thread: Some(thread.map_err(Error::io("start", "a thread"))?),
        })
    }

    /// Reads committed rows.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot be read.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let reader = self.reader.as_ref().ok_or_else(closed)?;
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        work(&reader).map_err(|error| failed(&self.path, error))
    }

    /// Makes a change and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. Then nothing has changed.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_and_wait(false, work)
    }

    /// Makes a change that refers to a new file of the folder, as [`Database::write`] does. The
    /// file's entry in the folder is on the disk before the change.
    ///
    /// # Errors
    /// Those of [`Database::write`].
    pub(super) fn write_after_file<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_and_wait(true, work)
    }

    /// Makes a change without waiting. The database's thread calls `then` with the result, once it
    /// is on the disk.
    pub(super) fn write_then(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<()> + Send + 'static,
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        self.send(Change {
            work: Box::new(work),
            has_file: false,
            answer: Box::new(then),
        });
    }

    /// Moves the write-ahead log into the database and truncates it.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk has no room.
    pub(super) fn empty_log(&self) -> Result<()> {
        let empty = || {
            let connection = Connection::open(&self.path)?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        empty().map_err(|error| failed(&self.path, error))
    }

    fn write_and_wait<T: Send + 'static>(
        &self,
        has_file: bool,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (output, outputs) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        // This function holds both receivers, so neither send can fail.
        let work = move |connection: &Connection| {
            let _ = output.send(work(connection)?);
            Ok(())
        };
        let answer = move |result| {
            let _ = answer.send(result);
        };
        self.send(Change {
            work: Box::new(work),
            has_file,
            answer: Box::new(answer),
        });
        answers.recv().map_err(|_| closed())??;
        // If the work ran twice, its second output counts.
        outputs.try_iter().last().ok_or_else(closed)
    }

    fn send(&self, change: Change) {
        if let Some(changes) = &self.changes {
            // If the thread is gone, the change is dropped, and with it the sender of the answer.
            let _ = changes.send(change);
        }
    }
}

fn closed() -> Error {
    Error::Service("the job database is closed".to_owned())
}

impl Drop for Database {
    /// Waits for the writer, whose connection closes last and merges the log into the database.
    fn drop(&mut self) {
        self.reader = None;
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Opens a connection for writing and returns it with the layout that it found or created.
fn open(path: &Path, tables: &str, layout: i64) -> rusqlite::Result<(Connection, i64)> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk when it returns: an accepted job outlives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_empty: bool =
        connection.query_row("SELECT COUNT(*) = 0 FROM sqlite_master", [], |row| {
            row.get(0)
        })?;
    if found != 0 || !is_empty {
        return Ok((connection, found));
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(tables)?;
    transaction.pragma_update(None, "user_version", layout)?;
    transaction.commit()?;
    Ok((connection, layout))
}

/// The writing thread.
struct Writer {
    connection: Connection,
    path: PathBuf,
    folder: PathBuf,
}

impl Writer {
    fn run(&self, received: &Receiver<Change>) {
        while let Ok(change) = received.recv() {
            // The commit includes all changes that arrived during the last one.
            self.answer(std::iter::once(change).chain(received.try_iter()).collect());
        }
    }

    /// Commits all changes together. If that fails, commits each alone, so that each gets its own
    /// error.
    fn answer(&self, mut changes: Vec<Change>) {
        match (self.commit(&changes), changes.len()) {
            (Ok(()), _) => changes.into_iter().for_each(|it| (it.answer)(Ok(()))),
            (Err(_), 2..) => changes.into_iter().for_each(|it| self.answer(vec![it])),
            (Err(error), _) => {
                if let Some(change) = changes.pop() {
                    (change.answer)(Err(error));
                }
            }
        }
    }

    fn commit(&self, changes: &[Change]) -> Result<()> {
        if changes.iter().any(|change| change.has_file) {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(Error::io("write", &self.folder))?;
        }
        let commit = || {
            let transaction = self.connection.unchecked_transaction()?;
            for change in changes {
                (change.work)(&transaction)?;
            }
            transaction.commit()
        };
        commit().map_err(|error| failed(&self.path, error))
    }
}

/// Converts an error of SQLite.
fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use ErrorCode::{DiskFull, NotADatabase};
    match error.sqlite_error_code() {
        Some(DiskFull) => Error::io("write", path)(std::io::ErrorKind::StorageFull.into()),
        Some(NotADatabase) => Error::Format {
            path: path.to_owned(),
            format: "job database",
            reason: "it is damaged, or belongs to another program".to_owned(),
        },
        _ => Error::io("write", path)(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path) -> Database {
        let tables = "CREATE TABLE it (number INTEGER PRIMARY KEY)";
        Database::open(&folder.join("it.sqlite"), folder, tables, 1).unwrap()
    }

    fn insert(number: i64) -> impl Fn(&Connection) -> rusqlite::Result<()> {
        move |connection| {
            let inserted = connection.execute("INSERT INTO it VALUES (?1)", [number]);
            inserted.map(|_| ())
        }
    }

    fn all(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let mut statement = connection.prepare("SELECT number FROM it ORDER BY number")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    #[test]
    fn a_change_that_fails_does_not_affect_those_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        database.write(insert(7)).unwrap();
        let failed: Vec<i64> = std::thread::scope(|scope| {
            let writers = (0..50_i64).map(|number| {
                let database = &database;
                scope.spawn(move || {
                    let done = if number % 2 == 0 {
                        database.write(insert(number))
                    } else {
                        database.write_after_file(insert(number))
                    };
                    done.err().map(|_| number)
                })
            });
            let writers: Vec<_> = writers.collect();
            writers
                .into_iter()
                .filter_map(|writer| writer.join().unwrap())
                .collect()
        });
        assert_eq!(failed, [7]);
        assert_eq!(database.read(all).unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_closed_database_is_one_file_with_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let closed = database(folder.path());
        closed.write_then(insert(1), |_| {});
        drop(closed);
        let files = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(files.count(), 1);
        assert_eq!(database(folder.path()).read(all).unwrap(), [1]);
    }

    #[test]
    fn reports_the_result_of_a_change_later() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        let (send, results) = mpsc::channel();
        for _ in 0..2 {
            let send = send.clone();
            database.write_then(insert(1), move |done| send.send(done.is_ok()).unwrap());
        }
        let mut results = [results.recv().unwrap(), results.recv().unwrap()];
        results.sort_unstable();
        assert_eq!(results, [false, true]);
    }
}
