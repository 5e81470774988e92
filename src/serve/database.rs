//! SQLite, written by a thread of its own: what is to be kept at the same time is committed together, since each commit waits for the disk.
//! Who reads waits for none.

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

pub(super) struct Database {
    path: PathBuf,
    /// None once it is to end, as the next.
    reader: Option<Mutex<Connection>>,
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
}

type Work = dyn Fn(&Connection) -> rusqlite::Result<()> + Send;

/// Something to be done in a transaction.
struct Ask {
    /// May be done again, after others that failed beside it.
    work: Box<Work>,
    /// Whether it speaks of a file that has come into the folder.
    names_file: bool,
    /// Who is told when it is on the disk, or why it is not.
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Database {
    /// Opens a database of such tables, or makes it. It speaks of files in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read and written, [`Error::Format`] if it has other tables, or is none.
    pub(super) fn open(path: &Path, folder: &Path, tables: &str, layout: i64) -> Result<Self> {
        let sqlite = |error| failed(path, error);
        let (connection, found) = open(path, tables, layout).map_err(sqlite)?;
        if found != layout {
            return Err(Error::Format {
                path: path.to_owned(),
                format: "job database",
                reason: format!("its layout is {found}, and this version knows {layout}"),
            });
        }
        let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let (asks, asked) = mpsc::channel();
        let thread = Thread {
            connection,
            path: path.to_owned(),
            folder: folder.to_owned(),
        };
        let builder = std::thread::Builder::new().name("database".to_owned());
        let thread = builder.spawn(move || thread.run(&asked));
        Ok(Self {
            path: path.to_owned(),
            reader: Some(Mutex::new(reader.map_err(sqlite)?)),
            asks: Some(asks),
            thread: Some(thread.map_err(Error::io("start", "a thread"))?),
        })
    }

    /// Reads what is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let reader = self.reader.as_ref().ok_or_else(closed)?;
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        work(&reader).map_err(|error| failed(&self.path, error))
    }

    /// Writes, and returns when it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written; then nothing of it is.
    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.wait_for(false, work)
    }

    /// The same, of a file that has been put into the folder: that is on the disk before.
    ///
    /// # Errors
    /// As before.
    pub(super) fn write_of_file<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.wait_for(true, work)
    }

    /// Writes, and returns at once; `then` is called when it is on the disk, or why it is not.
    pub(super) fn write_then(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<()> + Send + 'static,
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let ask = Ask {
            work: Box::new(work),
            names_file: false,
            answer: Box::new(then),
        };
        self.send(ask);
    }

    /// Moves what is in the log into the database, and gives its room back.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no room to move it to.
    pub(super) fn empty_log(&self) -> Result<()> {
        let empty = || {
            let connection = Connection::open(&self.path)?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        empty().map_err(|error| failed(&self.path, error))
    }

    fn wait_for<T: Send + 'static>(
        &self,
        names_file: bool,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (found, finds) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        // Who asks waits for both.
        let work = move |connection: &Connection| {
            let _ = found.send(work(connection)?);
            Ok(())
        };
        let answer = move |done| {
            let _ = answer.send(done);
        };
        self.send(Ask {
            work: Box::new(work),
            names_file,
            answer: Box::new(answer),
        });
        answered.recv().map_err(|_| closed())??;
        // Of a second attempt what that found.
        finds.try_iter().last().ok_or_else(closed)
    }

    fn send(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            // Without its thread nobody answers, which who waits sees.
            let _ = asks.send(ask);
        }
    }
}

fn closed() -> Error {
    Error::Service("the job database is closed".to_owned())
}

impl Drop for Database {
    /// Waits until everything is written, by the last connection: that leaves it in one file.
    fn drop(&mut self) {
        self.reader = None;
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // Had it panicked, that would have been told.
            let _ = thread.join();
        }
    }
}

/// A connection that writes, and the layout of what it writes to.
fn open(path: &Path, tables: &str, layout: i64) -> rusqlite::Result<(Connection, i64)> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk when it returns: what was accepted outlives a power cut, too.
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

struct Thread {
    connection: Connection,
    path: PathBuf,
    folder: PathBuf,
}

impl Thread {
    fn run(&self, asked: &Receiver<Ask>) {
        while let Ok(ask) = asked.recv() {
            // With what has come while the last was committed.
            self.answer(std::iter::once(ask).chain(asked.try_iter()).collect());
        }
    }

    /// Does all at once; if that fails one after the other, so that each knows its own fault.
    fn answer(&self, mut asks: Vec<Ask>) {
        match (self.commit(&asks), asks.len()) {
            (Ok(()), _) => asks.into_iter().for_each(|ask| (ask.answer)(Ok(()))),
            (Err(_), 2..) => asks.into_iter().for_each(|ask| self.answer(vec![ask])),
            (Err(error), _) => {
                if let Some(ask) = asks.pop() {
                    (ask.answer)(Err(error));
                }
            }
        }
    }

    fn commit(&self, asks: &[Ask]) -> Result<()> {
        if asks.iter().any(|ask| ask.names_file) {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(Error::io("write", &self.folder))?;
        }
        let commit = || {
            let transaction = self.connection.unchecked_transaction()?;
            for ask in asks {
                (ask.work)(&transaction)?;
            }
            transaction.commit()
        };
        commit().map_err(|error| failed(&self.path, error))
    }
}

/// An error of SQLite in words.
fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use ErrorCode::{DiskFull, NotADatabase};
    match error.sqlite_error_code() {
        Some(DiskFull) => Error::io("write", path)(std::io::ErrorKind::StorageFull.into()),
        Some(NotADatabase) => Error::Format {
            path: path.to_owned(),
            format: "job database",
            reason: "it is another program's, or damaged".to_owned(),
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

    /// One that fails, of many at the same time, takes none of the others along.
    #[test]
    fn each_is_told_its_own_fault() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        database.write(insert(7)).unwrap();
        let failed: Vec<i64> = std::thread::scope(|scope| {
            let asks = (0..50).map(|number| {
                let database = &database;
                scope.spawn(move || {
                    let done = match number % 2 {
                        0 => database.write(insert(number)),
                        _ => database.write_of_file(insert(number)),
                    };
                    done.err().map(|_| number)
                })
            });
            let asks: Vec<_> = asks.collect();
            asks.into_iter()
                .filter_map(|ask| ask.join().unwrap())
                .collect()
        });
        assert_eq!(failed, [7]);
        assert_eq!(database.read(all).unwrap(), (0..50).collect::<Vec<_>>());
    }

    /// Closed, it is one file.
    #[test]
    fn all_is_written_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let closed = database(folder.path());
        closed.write_then(insert(1), |_| {});
        drop(closed);
        let files = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(files.count(), 1);
        assert_eq!(database(folder.path()).read(all).unwrap(), [1]);
    }

    #[test]
    fn what_is_written_is_told_later() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        let (tell, told) = mpsc::channel();
        for _ in 0..2 {
            let tell = tell.clone();
            database.write_then(insert(1), move |done| tell.send(done.is_ok()).unwrap());
        }
        let mut told = [told.recv().unwrap(), told.recv().unwrap()];
        told.sort_unstable();
        assert_eq!(told, [false, true]);
    }
}
