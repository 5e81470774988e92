//! What outlives the process: jobs and reports in SQLite, and short bodies; long ones, and pages, in a spool folder beside it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;
use tempfile::NamedTempFile;

use super::{
    database::Database,
    job::{Job, State},
    under_way::UnderWay,
};
use crate::{
    error::{Error, Result},
    io::{self, Source},
    report::Verdict,
};

/// The layout of the tables; another one is another program's.
const LAYOUT: i64 = 2;

/// Bytes of the reserve: the database's log has half as many at most, and as many may be added to what it is the log of.
const RESERVE: usize = 8 << 20;

const TABLES: &str = "
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        settings TEXT NOT NULL,
        name TEXT,
        body TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        kept INTEGER NOT NULL,
        work REAL NOT NULL,
        memory INTEGER NOT NULL,
        starts INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        finished REAL,
        verdict TEXT,
        summary TEXT,
        report TEXT,
        error TEXT
    ) STRICT;
    CREATE INDEX jobs_by_state ON jobs (state, number);
    CREATE INDEX jobs_by_end ON jobs (finished) WHERE finished IS NOT NULL;
    CREATE INDEX jobs_by_size ON jobs (kept);
    CREATE TABLE bodies (job INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
";

/// What is kept of a job beside what a client sees.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) job: Job,
    /// The query that it came with.
    pub(super) settings: String,
    /// The file of its tensors, or what that would be called.
    pub(super) body: PathBuf,
    pub(super) cost: Cost,
    /// How often the process ended without a word while it was checked.
    pub(super) starts: usize,
}

impl Ticket {
    /// Whether it may be what has ended the process, not one that was beside it: then it is checked alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.starts > 1
    }
}

/// What a check takes, about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// Multiply-adds.
    pub(super) work: f64,
    /// Bytes beside its tensors.
    pub(super) memory: u64,
}

impl Cost {
    pub(super) fn is_within(self, most: Self) -> bool {
        self.work <= most.work && self.memory <= most.memory
    }
}

/// How a job ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done {
        verdict: Verdict,
        summary: String,
        report: Arc<RawValue>,
    },
    Failed(String),
    Cancelled,
}

impl Outcome {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Done { .. } => State::Done,
            Self::Failed(_) => State::Failed,
            Self::Cancelled => State::Cancelled,
        }
    }
}

/// A body that has come. Dropped, it is gone.
pub(super) enum Received {
    /// One that needs no file of its own: to create it, and to see it to the disk, takes longer than to write it. With its format.
    Short(&'static str, Arc<Vec<u8>>),
    /// A file in the spool folder, with the extension of its format.
    Long(NamedTempFile),
}

impl Received {
    /// What it may be called in messages.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Short(format, _) => PathBuf::from("part").with_extension(format),
            Self::Long(file) => file.path().to_owned(),
        }
    }

    /// Where its tensors are.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Short(_, bytes) => Source::Bytes(self.path(), bytes.clone()),
            Self::Long(_) => Source::File(self.path()),
        }
    }
}

/// A part of the list of jobs, and where the next begins.
pub(super) struct Listed {
    pub(super) jobs: Vec<Job>,
    pub(super) next: Option<i64>,
}

pub(super) struct Store {
    database: Database,
    path: PathBuf,
    spool: PathBuf,
    /// Room on the disk that is given up so that a full one can be emptied: to take out jobs takes some, too.
    reserve: PathBuf,
    /// What is being checked.
    pub(super) under_way: UnderWay,
    /// Held as long as the process lives, so that no other works on the same jobs.
    _lock: File,
}

impl Store {
    /// Opens the folder, or makes it. What was half written when a process ended is removed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written, or is another process's; [`Error::Format`] if the database is no such one.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let spool = folder.join("spool");
        fs::create_dir_all(&spool).map_err(|source| failed(folder, source))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|source| failed(&lock_path, source))?;
        if lock.try_lock().is_err() {
            let reason = std::io::Error::other("another service works on it");
            return Err(failed(folder, reason));
        }
        let path = folder.join("jobs.sqlite");
        if !path.exists() && has_bodies(&spool)? {
            let reason = std::io::Error::other(
                "it is gone, and spool has bodies of jobs that only it knows",
            );
            return Err(Error::io("read", &path)(reason));
        }
        let database = Database::open(&path, &spool, TABLES, LAYOUT)?;
        let (under_way, broken_off) = UnderWay::open(&folder.join("under-way"))?;
        let store = Self {
            database,
            path,
            spool,
            reserve: folder.join("reserve"),
            under_way,
            _lock: lock,
        };
        store.database.write(move |connection| {
            let mut statement =
                connection.prepare("UPDATE jobs SET starts = starts + 1 WHERE id = ?1")?;
            broken_off
                .iter()
                .try_for_each(|id| statement.execute([id]).map(|_| ()))
        })?;
        store.remove_strangers()?;
        store.reserve();
        Ok(store)
    }

    /// Files of the spool folder that belong to no job: what was being received, or removed, when a process ended.
    fn remove_strangers(&self) -> Result<()> {
        let folder = fs::read_dir(&self.spool).map_err(|source| failed(&self.spool, source))?;
        for entry in folder {
            let entry = entry.map_err(|source| failed(&self.spool, source))?;
            let path = entry.path();
            if !path.is_file() {
                // lost+found, say: nothing of ours.
                continue;
            }
            let id = path.file_stem().unwrap_or_default().to_string_lossy();
            let known = self.database.read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
                statement.exists([&id])
            })?;
            if !known {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// A file for a body on its way; dropped, it is gone.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub(super) fn receive(&self, format: &str) -> Result<NamedTempFile> {
        let suffix = format!(".{format}");
        let mut builder = tempfile::Builder::new();
        builder.prefix("part-").suffix(&suffix);
        let file = builder.tempfile_in(&self.spool);
        file.map_err(|source| failed(&self.spool, source))
    }

    /// Keeps a job: when this returns it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be; then nothing of it is there.
    pub(super) fn accept(
        &self,
        job: Job,
        settings: String,
        cost: Cost,
        body: Received,
    ) -> Result<Ticket> {
        let format = body.path();
        let format = format.extension().unwrap_or_default();
        let ticket = Ticket {
            body: self.spool.join(&job.id).with_extension(format),
            job,
            settings,
            cost,
            starts: 0,
        };
        let insert = {
            let ticket = ticket.clone();
            move |connection: &Connection| insert(connection, &ticket)
        };
        let kept = match body {
            Received::Short(_, bytes) => self.database.write(move |connection| {
                let number = insert(connection)?;
                let mut statement =
                    connection.prepare_cached("INSERT INTO bodies (job, bytes) VALUES (?1, ?2)")?;
                statement.execute(params![number, *bytes]).map(|_| ())
            }),
            Received::Long(file) => {
                let kept = file.as_file().sync_all().and_then(|()| {
                    let persisted = file.persist(&ticket.body);
                    persisted.map_err(|error| error.error)
                });
                kept.map_err(|source| failed(&self.spool, source))
                    .and_then(|_| self.database.write_of_file(insert))
                    .map(|_| ())
            }
        };
        match kept {
            Ok(()) => Ok(ticket),
            Err(error) => {
                remove(&ticket.body)?;
                Err(error)
            }
        }
    }

    /// Where a job's tensors are.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn source(&self, ticket: &Ticket) -> Result<Source> {
        let short: Option<Vec<u8>> = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT bytes FROM bodies WHERE job = (SELECT number FROM jobs WHERE id = ?1)",
            )?;
            statement
                .query_row([&ticket.job.id], |row| row.get(0))
                .optional()
        })?;
        let body = ticket.body.clone();
        Ok(match short {
            Some(bytes) => Source::Bytes(body, Arc::new(bytes)),
            None => Source::File(body),
        })
    }

    /// Ends a job, unless it has ended before: no job is reported twice. `then` is told when that is kept, and whether it had not, or why it
    /// cannot be; then it is as it was.
    pub(super) fn finish(
        &self,
        id: &str,
        outcome: &Outcome,
        at: f64,
        then: impl FnOnce(Result<bool>) + Send + 'static,
    ) {
        let (id, outcome) = (id.to_owned(), outcome.clone());
        let ended = Arc::new(AtomicBool::new(false));
        let by = ended.clone();
        self.database.write_then(
            move |connection| {
                by.store(finish(connection, &id, &outcome, at)?, Ordering::Relaxed);
                Ok(())
            },
            move |kept| then(kept.map(|()| ended.load(Ordering::Relaxed))),
        );
    }

    /// The same, which returns when it is kept.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be kept; then it is as it was.
    pub(super) fn finish_now(&self, id: &str, outcome: &Outcome, at: f64) -> Result<bool> {
        let (id, outcome) = (id.to_owned(), outcome.clone());
        self.database
            .write(move |connection| finish(connection, &id, &outcome, at))
    }

    /// Returns when everything is on the disk that was to be kept before.
    pub(super) fn settle(&self) {
        // It does nothing that could fail.
        let _ = self.database.write(|_| Ok(()));
    }

    /// Keeps the page of a job's report, beside its body.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be; then there is none.
    pub(super) fn keep_page(&self, ticket: &Ticket, text: &str) -> Result<()> {
        let path = page(&ticket.body);
        let mut file = self.receive("html")?;
        let kept = file
            .write_all(text.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| file.persist(&path).map_err(|error| error.error));
        kept.map_err(|source| failed(&self.spool, source))?;
        let (id, bytes) = (ticket.job.id.clone(), text.len() as i64);
        let counted = self.database.write_of_file(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE jobs SET kept = bytes + COALESCE(OCTET_LENGTH(report), 0) + ?2 WHERE id = ?1",
            )?;
            statement.execute(params![id, bytes])
        });
        match counted {
            Ok(1) => Ok(()),
            // The job has been let go meanwhile.
            Ok(_) => remove(&path),
            Err(error) => remove(&path).and(Err(error)),
        }
    }

    /// A job with its report.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn ticket(&self, id: &str) -> Result<Option<Ticket>> {
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, id, state, name, bytes, created, finished, verdict, summary, error, settings, body, work, memory, starts, report FROM jobs WHERE id = ?1",
            )?;
            statement.query_row([id], |row| self.of(row)).optional()
        })
    }

    /// Those whose turn is to come, in the order of their coming.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn queued(&self) -> Result<Vec<Ticket>> {
        self.database.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT number, id, state, name, bytes, created, finished, verdict, summary, error, settings, body, work, memory, starts, NULL FROM jobs WHERE state = 'queued' ORDER BY number",
            )?;
            statement.query_map([], |row| self.of(row))?.collect()
        })
    }

    /// From a row of all columns.
    fn of(&self, row: &Row<'_>) -> rusqlite::Result<Ticket> {
        let body: String = row.get(11)?;
        let mut job = job(row)?;
        let report: Option<String> = row.get(15)?;
        job.report = report
            .and_then(|text| RawValue::from_string(text).ok())
            .map(Arc::from);
        Ok(Ticket {
            settings: row.get(10)?,
            body: self.spool.join(body),
            cost: Cost {
                work: row.get(12)?,
                memory: row.get::<_, i64>(13)? as u64,
            },
            starts: row.get::<_, i64>(14)? as usize,
            job,
        })
    }

    /// The latest jobs before `cursor`, without their reports.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn list(
        &self,
        state: Option<State>,
        limit: usize,
        cursor: Option<i64>,
    ) -> Result<Listed> {
        // Of all, or of those in a state, which an index has.
        let (of, value) = match state {
            None => ("?1", "all"),
            Some(state) => ("state", state.name()),
        };
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT number, id, state, name, bytes, created, finished, verdict, summary, error FROM jobs
                 WHERE {of} = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3",
            ))?;
            let before = cursor.unwrap_or(i64::MAX);
            // One more than asked for tells whether there is a next part.
            let rows = statement.query_map(params![value, before, limit as i64 + 1], |row| {
                Ok((row.get::<_, i64>(0)?, job(row)?))
            })?;
            let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|(number, _)| *number);
            let jobs = rows.into_iter().map(|(_, job)| job).collect();
            Ok(Listed { jobs, next })
        })
    }

    /// Forgets ended jobs: those that ended before `oldest`, and of the others the oldest, until the bodies, reports and pages of all take no
    /// more than `most_bytes`. Says how many.
    ///
    /// # Errors
    /// [`Error::Io`] if the database or the folder cannot be written.
    pub(super) fn forget(&self, oldest: f64, most_bytes: u64) -> Result<usize> {
        let most = i64::try_from(most_bytes).unwrap_or(i64::MAX);
        let due = self
            .database
            .read(|connection| due(connection, oldest, most))?;
        if due.is_empty() {
            return Ok(0);
        }
        // Files first: a full disk has no room for anything else before.
        let remove_files = || {
            let bodies = due.iter().map(|(_, body)| self.spool.join(body));
            let removed = bodies.map(|body| remove(&body).and(remove(&page(&body))));
            removed.fold(Ok(()), Result::and)
        };
        let removed = remove_files();
        let numbers: Arc<Vec<i64>> = Arc::new(due.iter().map(|(number, _)| *number).collect());
        let take_out = || {
            let numbers = numbers.clone();
            self.database
                .write(move |connection| take_out(connection, &numbers))
        };
        if take_out().is_err() {
            remove(&self.reserve)?;
            // It fails where the log still has not room enough, which is seen next.
            let _ = self.database.empty_log();
            take_out()?;
            self.database.empty_log()?;
        }
        self.reserve();
        // Pages that were drawn meanwhile.
        removed.and(remove_files())?;
        Ok(due.len())
    }

    /// Takes the room that is to be given up again, if there is so much.
    fn reserve(&self) {
        if fs::metadata(&self.reserve).is_ok_and(|it| it.len() >= RESERVE as u64) {
            return;
        }
        for share in [1, 2, 4, 8] {
            match fs::write(&self.reserve, vec![0; RESERVE / share]) {
                Ok(()) => return,
                // What was written of it would be missed elsewhere.
                Err(_) => drop(remove(&self.reserve)),
            }
        }
    }

    /// Lets the database have so many pages at most, or as many as it has: one that cannot grow is what a full disk makes of it.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, most: i64) {
        let limited = self
            .database
            .write(move |connection| connection.pragma_update(None, "max_page_count", most));
        limited.unwrap();
    }

    /// Whether it can be read, and still is where it was.
    pub(super) fn is_ready(&self) -> bool {
        let ask = |connection: &Connection| connection.query_row("SELECT 1", [], |_| Ok(()));
        self.path.exists() && self.spool.is_dir() && self.database.read(ask).is_ok()
    }
}

/// The numbers of the ended jobs that are to go, and the names of their bodies.
fn due(connection: &Connection, oldest: f64, most: i64) -> rusqlite::Result<Vec<(i64, String)>> {
    // Each by an index of its own; most of the time there is nothing to do, and nobody is to wait for that.
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE finished < ?1), (SELECT COALESCE(SUM(kept), 0) FROM jobs)",
    )?;
    let (some_are_old, all): (bool, i64) =
        statement.query_row([oldest], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut surplus = all.saturating_sub(most);
    if !some_are_old && surplus <= 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT number, body, kept, finished < ?1 FROM jobs WHERE finished IS NOT NULL ORDER BY finished < ?1 DESC, number",
    )?;
    let mut ended = statement.query([oldest])?;
    let mut due = Vec::new();
    while let Some(row) = ended.next()?
        && (row.get(3)? || surplus > 0)
    {
        due.push((row.get(0)?, row.get(1)?));
        surplus = surplus.saturating_sub(row.get(2)?);
    }
    Ok(due)
}

/// Takes jobs out that have ended.
fn take_out(connection: &Connection, numbers: &[i64]) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM jobs WHERE number = ?1",
        "DELETE FROM bodies WHERE job = ?1",
    ] {
        let mut statement = connection.prepare_cached(sql)?;
        for number in numbers {
            statement.execute([number])?;
        }
    }
    Ok(())
}

/// Whether a spool folder has bodies of jobs, not only what was on its way.
fn has_bodies(spool: &Path) -> Result<bool> {
    let folder = fs::read_dir(spool).map_err(|source| failed(spool, source))?;
    let is_body = |name: &std::ffi::OsStr| {
        io::format(Path::new(name)).is_ok() && !name.to_string_lossy().starts_with("part-")
    };
    let mut names = folder.filter_map(|entry| Some(entry.ok()?.file_name()));
    Ok(names.any(|name| is_body(&name)))
}

/// Where the page of a body's report is kept.
pub(super) fn page(body: &Path) -> PathBuf {
    body.with_extension("html")
}

/// Writes a job whose turn is to come; its number.
fn insert(connection: &Connection, ticket: &Ticket) -> rusqlite::Result<i64> {
    let Ticket {
        job,
        settings,
        body,
        cost,
        ..
    } = ticket;
    let mut statement = connection.prepare_cached(
        "INSERT INTO jobs (id, state, settings, name, body, bytes, kept, work, memory, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)",
    )?;
    statement.insert(params![
        job.id,
        State::Queued.name(),
        settings,
        job.name,
        body.file_name().unwrap_or_default().to_string_lossy(),
        job.bytes as i64,
        cost.work,
        cost.memory as i64,
        job.created
    ])
}

/// Whether it had not ended before.
fn finish(connection: &Connection, id: &str, outcome: &Outcome, at: f64) -> rusqlite::Result<bool> {
    let (verdict, summary, report, error) = match outcome {
        Outcome::Done {
            verdict,
            summary,
            report,
        } => (
            Some(verdict.to_string()),
            Some(summary),
            Some(report.get()),
            None,
        ),
        Outcome::Failed(error) => (None, None, None, Some(error)),
        Outcome::Cancelled => (None, None, None, None),
    };
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET state = ?2, finished = ?3, verdict = ?4, summary = ?5, report = ?6, error = ?7, kept = kept + COALESCE(OCTET_LENGTH(?6), 0) WHERE id = ?1 AND state = 'queued'",
    )?;
    let done = statement.execute(params![
        id,
        outcome.state().name(),
        at,
        verdict,
        summary,
        report,
        error
    ]);
    done.map(|rows| rows > 0)
}

/// The columns of a job, without its report.
fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let [id, state]: [String; 2] = [row.get(1)?, row.get(2)?];
    let verdict: Option<String> = row.get(7)?;
    Ok(Job {
        id,
        // Another process's state that this one does not know is nothing that it could run.
        state: State::named(&state).unwrap_or(State::Failed),
        name: row.get(3)?,
        bytes: row.get::<_, i64>(4)? as u64,
        created: row.get(5)?,
        finished: row.get(6)?,
        progress: None,
        verdict: verdict.and_then(|name| VERDICTS.into_iter().find(|it| it.to_string() == name)),
        summary: row.get(8)?,
        report: None,
        error: row.get(9)?,
    })
}

const VERDICTS: [Verdict; 3] = [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail];

/// A file that is not there needs no removing.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::io("write", path)(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::{job::now, refusal::Refusal};

    /// Every other one has a file of its own.
    fn accept(store: &Store, id: usize) -> Result<Ticket> {
        let bytes = vec![id as u8; 1000];
        let body = match id % 2 {
            0 => {
                let mut file = store.receive("npz")?;
                file.write_all(&bytes).unwrap();
                Received::Long(file)
            }
            _ => Received::Short("npz", Arc::new(bytes)),
        };
        let job = Job::queued(format!("job-{id}"), None, 1000);
        let cost = Cost {
            work: 1.0,
            memory: 1,
        };
        store.accept(job, String::new(), cost, body)
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder.join("spool")).unwrap().count()
    }

    fn done() -> Outcome {
        let report = format!("{{\"text\": \"{}\"}}", "x".repeat(5000));
        Outcome::Done {
            verdict: Verdict::Pass,
            summary: "grad".to_owned(),
            report: RawValue::from_string(report).unwrap().into(),
        }
    }

    #[test]
    fn a_full_disk_is_told_and_breaks_no_job() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.limit_pages(10);
        let mut accepted = 0;
        let error = loop {
            match accept(&store, accepted) {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert!(accepted > 0);
        assert_eq!(Refusal::from(error).status, 507);
        assert_eq!(store.queued().unwrap().len(), accepted);
        assert_eq!(files(folder.path()), accepted.div_ceil(2));
        // There is no room for reports either: a job waits for them, and is not lost.
        let error = (0..accepted)
            .find_map(|id| store.finish_now(&format!("job-{id}"), &done(), now()).err());
        assert_eq!(Refusal::from(error.unwrap()).status, 507);
        // With room it goes on.
        store.limit_pages(1000);
        let left = store.queued().unwrap();
        assert!(!left.is_empty());
        for ticket in left {
            store.finish_now(&ticket.job.id, &done(), now()).unwrap();
        }
        let listed = store.list(Some(State::Done), 1000, None).unwrap();
        assert_eq!(listed.jobs.len(), accepted);
    }

    #[test]
    fn a_job_ends_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        accept(&store, 0).unwrap();
        assert!(store.finish_now("job-0", &done(), 1.0).unwrap());
        assert!(!store.finish_now("job-0", &Outcome::Cancelled, 2.0).unwrap());
        let job = store.ticket("job-0").unwrap().unwrap().job;
        assert_eq!((job.state, job.finished), (State::Done, Some(1.0)));
        assert!(job.report.unwrap().get().starts_with("{\"text\": "));
        assert!(store.ticket("job-1").unwrap().is_none());
    }

    /// Wherever it is kept, a body comes back as it was.
    #[test]
    fn a_body_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for id in 0..4 {
            let ticket = accept(&store, id).unwrap();
            let bytes = match store.source(&ticket).unwrap() {
                Source::File(path) => fs::read(path).unwrap(),
                Source::Bytes(_, bytes) => bytes.bytes().to_vec(),
                Source::Separate(_) => panic!("one file"),
            };
            assert_eq!(bytes, vec![id as u8; 1000]);
        }
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn what_was_under_way_at_the_end_of_a_process_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        for begun in [&["job-0", "job-1"][..], &["job-0"], &[]] {
            let store = Store::open(folder.path()).unwrap();
            for id in 0..2 {
                // The first time.
                let _ = accept(&store, id);
            }
            begun.iter().for_each(|id| store.under_way.begin(id));
        }
        let store = Store::open(folder.path()).unwrap();
        let starts = store.queued().unwrap().into_iter().map(|it| it.starts);
        assert_eq!(starts.collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn old_jobs_go_by_age_and_by_size_but_none_that_is_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for id in 0..6 {
            accept(&store, id).unwrap();
        }
        for id in 0..4 {
            let at = if id == 0 { 10.0 } else { 100.0 };
            store.finish_now(&format!("job-{id}"), &done(), at).unwrap();
        }
        let kept = store.ticket("job-3").unwrap().unwrap();
        // However often it was drawn, it is kept once.
        for _ in 0..2 {
            store.keep_page(&kept, &"page".repeat(1000)).unwrap();
        }
        // By age the first; by size two more: two bodies that are to come, and a body with 5,013 bytes of a report and 4,000 of a page.
        assert_eq!(store.forget(50.0, u64::MAX).unwrap(), 1);
        assert_eq!(store.forget(50.0, 12_100).unwrap(), 2);
        let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
        let left = store.list(None, 10, None).unwrap();
        assert_eq!(ids(left.jobs), ["job-5", "job-4", "job-3"]);
        // One body of those has a file, and one page.
        assert_eq!(files(folder.path()), 2);
        // Those that are to come stay, however much there is.
        assert_eq!(store.forget(1e12, 0).unwrap(), 1);
        assert_eq!(
            ids(store.list(None, 10, None).unwrap().jobs),
            ["job-5", "job-4"]
        );
        // Nobody comes for the page of a job that is gone.
        store.keep_page(&kept, "page").unwrap();
        assert_eq!(files(folder.path()), 1);
        // Nor is a body of theirs left.
        let bodies = store.database.read(|connection| {
            connection.query_row("SELECT COUNT(*) FROM bodies", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        assert_eq!(bodies.unwrap(), 1);
    }

    #[test]
    fn what_belongs_to_no_job_is_gone_when_the_folder_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let body = accept(&store, 0).unwrap().body;
        let spool = folder.path().join("spool");
        let strangers = ["part-1.npz", "job-1.npz", "job-1.html", ".gradprobe-1"];
        for name in strangers {
            fs::write(spool.join(name), "").unwrap();
        }
        fs::write(page(&body), "").unwrap();
        drop(store);
        fs::create_dir(spool.join("lost+found")).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(strangers.iter().all(|name| !spool.join(name).exists()));
        assert!(body.exists() && page(&body).exists());
        drop(store);
        // But where nobody knows whose they are, bodies are left.
        fs::remove_file(folder.path().join("jobs.sqlite")).unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("spool has bodies of jobs"), "{error}");
        assert!(body.exists());
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("jobs.sqlite"),
            "something else, of some length: no database at all",
        )
        .unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("it is another program's, or damaged"),
            "{error}"
        );
        let path = folder.path().join("jobs.sqlite");
        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (it)").unwrap();
        drop(other);
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("its layout is 0"), "{error}");
    }
}
