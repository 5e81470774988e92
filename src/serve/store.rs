//! The store: everything that outlives the process. Jobs, reports and short bodies are in SQLite,
//! long bodies and pages in a spool folder beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;

use super::job::{Cost, Job, JobView, Outcome, State};
use crate::{
    error::{Error, Result},
    io::Source,
    report::Verdict,
};

mod database;
mod journal;
mod reserve;
mod spool;
mod sql;

use database::Database;
use journal::Journal;
use reserve::Reserve;
pub(super) use spool::{ReceivedBody, page};
use spool::{Spool, remove};
use sql::Ended;
pub(super) use sql::JobList;

/// The store.
pub(super) struct Store {
    database: Database,
    path: PathBuf,
    pub(super) spool: Spool,
    reserve: Reserve,
    /// Ids of the running jobs.
    pub(super) journal: Journal,
    /// Held while the process lives, so that no other process uses the folder.
    _lock: File,
}

impl Store {
    /// Opens a folder, and creates it if there is none. Removes files that an earlier process left
    /// half written.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written or another process uses it, [`Error::Format`]
    /// if the database is damaged, of another version, or not the service's.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let failed = |path: &Path, source| Error::io("write", path)(source);
        let spool = Spool::new(folder.join("spool"));
        fs::create_dir_all(spool.folder()).map_err(|source| failed(folder, source))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|source| failed(&lock_path, source))?;
        if lock.try_lock().is_err() {
            let reason = std::io::Error::other("another service uses it");
            return Err(failed(folder, reason));
        }
        let path = folder.join("jobs.sqlite");
        if !path.exists() && spool.has_bodies()? {
            let reason = std::io::Error::other(
                "it is missing, but spool holds bodies of jobs that only it lists",
            );
            return Err(Error::io("read", &path)(reason));
        }
        let database = Database::open(&path, spool.folder(), sql::TABLES, sql::LAYOUT)?;
        let (journal, crashed) = Journal::open(&folder.join("under-way"))?;
        database.write(move |connection| sql::count_crashes(connection, &crashed))?;
        spool.remove_orphans(|id| database.read(|connection| sql::has_job(connection, id)))?;
        let reserve = Reserve::new(folder.join("reserve"));
        reserve.fill();
        Ok(Self {
            database,
            path,
            spool,
            reserve,
            journal,
            _lock: lock,
        })
    }

    /// Keeps a job. When this returns, it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. Then nothing of it is kept.
    pub(super) fn accept(
        &self,
        view: JobView,
        query: String,
        cost: Cost,
        body: ReceivedBody,
    ) -> Result<Job> {
        let extension = body.path();
        let extension = extension.extension().unwrap_or_default();
        let job = Job {
            body: self.spool.folder().join(&view.id).with_extension(extension),
            view,
            query,
            cost,
            crashes: 0,
        };
        let insert = {
            let job = job.clone();
            move |connection: &Connection| sql::insert_job(connection, &job)
        };
        let kept = match body {
            ReceivedBody::Inline(_, bytes) => self.database.write(move |connection| {
                let number = insert(connection)?;
                sql::insert_body(connection, number, &bytes)
            }),
            ReceivedBody::Spooled(file) => self
                .spool
                .keep(file, &job.body)
                .and_then(|()| self.database.write_after_file(insert))
                .map(drop),
        };
        if let Err(error) = kept {
            remove(&job.body)?;
            return Err(error);
        }
        Ok(job)
    }

    /// Returns the body of a job as a source of tensors.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn source(&self, job: &Job) -> Result<Source> {
        let inline = self
            .database
            .read(|connection| sql::body(connection, &job.view.id))?;
        let path = job.body.clone();
        Ok(match inline {
            Some(bytes) => Source::Bytes(path, Arc::new(bytes)),
            None => Source::File(path),
        })
    }

    /// Ends a job, unless it has ended before.
    ///
    /// Calls `then(Ok(true))` once the end is on the disk, `then(Ok(false))` if the job had ended
    /// before, and `then(Err(_))` if the end cannot be written and nothing has changed.
    pub(super) fn finish(
        &self,
        id: &str,
        outcome: &Outcome,
        at: f64,
        then: impl FnOnce(Result<bool>) + Send + 'static,
    ) {
        let (id, outcome) = (id.to_owned(), outcome.clone());
        let is_first = Arc::new(AtomicBool::new(false));
        let found = is_first.clone();
        self.database.write_then(
            move |connection| {
                let first = sql::finish_job(connection, &id, &outcome, at)?;
                found.store(first, Ordering::Relaxed);
                Ok(())
            },
            move |kept| then(kept.map(|()| is_first.load(Ordering::Relaxed))),
        );
    }

    /// Ends a job, unless it has ended before, and returns once that is on the disk. Returns false
    /// if the job had ended before.
    ///
    /// # Errors
    /// [`Error::Io`] if the end cannot be written. Then nothing has changed.
    pub(super) fn finish_now(&self, id: &str, outcome: &Outcome, at: f64) -> Result<bool> {
        let (id, outcome) = (id.to_owned(), outcome.clone());
        self.database
            .write(move |connection| sql::finish_job(connection, &id, &outcome, at))
    }

    /// Waits until all earlier changes are on the disk.
    pub(super) fn settle(&self) {
        // An empty transaction cannot fail.
        let _ = self.database.write(|_| Ok(()));
    }

    /// Keeps the page of a job's report.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written. Then there is no page.
    pub(super) fn keep_page(&self, job: &Job, text: &str) -> Result<()> {
        let path = self.spool.write_page(&job.body, text)?;
        let (id, bytes) = (job.view.id.clone(), text.len() as i64);
        let counted = self
            .database
            .write_after_file(move |connection| sql::count_page(connection, &id, bytes));
        match counted {
            Ok(true) => Ok(()),
            // The job has been deleted meanwhile.
            Ok(false) => remove(&path),
            Err(error) => remove(&path).and(Err(error)),
        }
    }

    /// Returns a job with its report.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn job(&self, id: &str) -> Result<Option<Job>> {
        self.database
            .read(|connection| sql::job(connection, id, self.spool.folder()))
    }

    /// Returns the jobs that have not ended, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn queued(&self) -> Result<Vec<Job>> {
        self.database
            .read(|connection| sql::queued_jobs(connection, self.spool.folder()))
    }

    /// Returns the newest jobs before `cursor`, of one state or of all, and of one verdict or of
    /// all.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn list(
        &self,
        state: Option<State>,
        verdict: Option<Verdict>,
        limit: usize,
        cursor: Option<i64>,
    ) -> Result<JobList> {
        self.database
            .read(|connection| sql::list(connection, state, verdict, limit, cursor))
    }

    /// Deletes ended jobs: those that ended before `oldest`, in seconds since 1970, and then the
    /// oldest until the bodies, reports and pages of all jobs take at most `max_bytes`. Returns the
    /// number of deleted jobs.
    ///
    /// # Errors
    /// [`Error::Io`] if the database or the folder cannot be written.
    pub(super) fn delete_expired(&self, oldest: f64, max_bytes: u64) -> Result<usize> {
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let expired = self
            .database
            .read(|connection| sql::expired(connection, oldest, max_bytes))?;
        self.delete_ended(&expired)?;
        Ok(expired.len())
    }

    /// Deletes a job that has ended, with its body, its report and its page. Returns false if there
    /// is none.
    ///
    /// # Errors
    /// [`Error::Io`] if the database or the folder cannot be written.
    pub(super) fn delete(&self, id: &str) -> Result<bool> {
        let ended = self
            .database
            .read(|connection| sql::ended(connection, id))?;
        let Some(ended) = ended else {
            return Ok(false);
        };
        self.delete_ended(&[ended])?;
        Ok(true)
    }

    fn delete_ended(&self, jobs: &[Ended]) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        // Files first: on a full disk there is no room for any other change.
        let remove_files = || {
            let removed = jobs.iter().map(|job| self.spool.remove(&job.body));
            removed.fold(Ok(()), Result::and)
        };
        let removed = remove_files();
        let numbers: Arc<Vec<i64>> = Arc::new(jobs.iter().map(|job| job.number).collect());
        let delete = || {
            let numbers = numbers.clone();
            self.database
                .write(move |connection| sql::delete_jobs(connection, &numbers))
        };
        if delete().is_err() {
            self.reserve.release()?;
            // If the log still has too little room, the deletion fails, too.
            let _ = self.database.empty_log();
            delete()?;
            self.database.empty_log()?;
        }
        self.reserve.fill();
        // Files again, for pages that were rendered meanwhile.
        removed.and(remove_files())
    }

    /// Limits the pages of the database, which cannot shrink: a database that cannot grow behaves
    /// as on a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, limit: i64) {
        let limited = self
            .database
            .write(move |connection| connection.pragma_update(None, "max_page_count", limit));
        limited.unwrap();
    }

    /// Returns true if the store can be read and its files have not been moved away.
    pub(super) fn is_ready(&self) -> bool {
        let ask = |connection: &Connection| connection.query_row("SELECT 1", [], |_| Ok(()));
        self.path.exists() && self.spool.folder().is_dir() && self.database.read(ask).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::value::RawValue;

    use super::*;
    use crate::serve::{job::now, refusal::Refusal};

    /// Keeps a job of 1000 bytes. An even one has a file of its own.
    fn accept(store: &Store, id: usize) -> Result<Job> {
        let bytes = vec![id as u8; 1000];
        let body = if id.is_multiple_of(2) {
            let mut file = store.spool.create("npz")?;
            file.write_all(&bytes).unwrap();
            ReceivedBody::Spooled(file)
        } else {
            ReceivedBody::Inline("npz", Arc::new(bytes))
        };
        let view = JobView::queued(format!("job-{id}"), None, 1000);
        let cost = Cost {
            work: 1.0,
            memory: 1,
        };
        store.accept(view, String::new(), cost, body)
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder.join("spool")).unwrap().count()
    }

    /// Returns a report of 5,012 bytes.
    fn done() -> Outcome {
        let report = format!("{{\"text\": \"{}\"}}", "x".repeat(5000));
        Outcome::Done {
            verdict: Verdict::Pass,
            summary: "grad".to_owned(),
            report: RawValue::from_string(report).unwrap().into(),
        }
    }

    #[test]
    fn a_full_disk_refuses_jobs_and_breaks_none() {
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
        // There is no room for reports either. The job stays queued.
        let error = (0..accepted)
            .find_map(|id| store.finish_now(&format!("job-{id}"), &done(), now()).err());
        assert_eq!(Refusal::from(error.unwrap()).status, 507);
        // With room, the rest can end.
        store.limit_pages(1000);
        let left = store.queued().unwrap();
        assert!(!left.is_empty());
        for job in left {
            store.finish_now(&job.view.id, &done(), now()).unwrap();
        }
        let list = store.list(Some(State::Done), None, 1000, None).unwrap();
        assert_eq!(list.jobs.len(), accepted);
    }

    #[test]
    fn a_job_ends_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        accept(&store, 0).unwrap();
        assert!(store.finish_now("job-0", &done(), 1.0).unwrap());
        assert!(!store.finish_now("job-0", &Outcome::Cancelled, 2.0).unwrap());
        let view = store.job("job-0").unwrap().unwrap().view;
        assert_eq!((view.state, view.finished), (State::Done, Some(1.0)));
        assert!(view.report.unwrap().get().starts_with("{\"text\": "));
        assert!(store.job("job-1").unwrap().is_none());
    }

    #[test]
    fn a_body_comes_back_unchanged_from_file_and_database() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for id in 0..4 {
            let job = accept(&store, id).unwrap();
            let bytes = match store.source(&job).unwrap() {
                Source::File(path) => fs::read(path).unwrap(),
                Source::Bytes(_, bytes) => bytes.bytes().to_vec(),
                _ => panic!("one file"),
            };
            assert_eq!(bytes, vec![id as u8; 1000]);
        }
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn counts_the_crashes_during_a_job() {
        let folder = tempfile::tempdir().unwrap();
        for running in [&["job-0", "job-1"][..], &["job-0"], &[]] {
            let store = Store::open(folder.path()).unwrap();
            for id in 0..2 {
                // Only the first process can insert them.
                let _ = accept(&store, id);
            }
            running.iter().for_each(|id| store.journal.begin(id));
        }
        let store = Store::open(folder.path()).unwrap();
        let crashes = store.queued().unwrap().into_iter().map(|it| it.crashes);
        assert_eq!(crashes.collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn deletes_ended_jobs_by_age_and_by_size_but_no_queued_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for id in 0..6 {
            accept(&store, id).unwrap();
        }
        for id in 0..4 {
            let at = if id == 0 { 10.0 } else { 100.0 };
            store.finish_now(&format!("job-{id}"), &done(), at).unwrap();
        }
        let job = store.job("job-3").unwrap().unwrap();
        // A page that is rendered twice counts once.
        for _ in 0..2 {
            store.keep_page(&job, &"page".repeat(1000)).unwrap();
        }
        // By age the first. By size two more: two bodies of queued jobs remain, and a body with
        // 5,012 bytes of a report and 4,000 of a page.
        assert_eq!(store.delete_expired(50.0, u64::MAX).unwrap(), 1);
        assert_eq!(store.delete_expired(50.0, 12_100).unwrap(), 2);
        let ids = |jobs: Vec<JobView>| jobs.into_iter().map(|it| it.id).collect::<Vec<_>>();
        let left = store.list(None, None, 10, None).unwrap();
        assert_eq!(ids(left.jobs), ["job-5", "job-4", "job-3"]);
        // One of those bodies has a file, and there is one page.
        assert_eq!(files(folder.path()), 2);
        // Queued jobs stay, however much they take.
        assert_eq!(store.delete_expired(1e12, 0).unwrap(), 1);
        assert_eq!(
            ids(store.list(None, None, 10, None).unwrap().jobs),
            ["job-5", "job-4"]
        );
        // The page of a deleted job is not kept.
        store.keep_page(&job, "page").unwrap();
        assert_eq!(files(folder.path()), 1);
        // Nor is its body.
        let bodies = store.database.read(|connection| {
            connection.query_row("SELECT COUNT(*) FROM bodies", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        assert_eq!(bodies.unwrap(), 1);
    }

    #[test]
    fn removes_files_of_no_job_unless_the_database_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let body = accept(&store, 0).unwrap().body;
        let spool = folder.path().join("spool");
        let orphans = ["part-1.npz", "job-1.npz", "job-1.html", ".gradprobe-1"];
        for name in orphans {
            fs::write(spool.join(name), "").unwrap();
        }
        fs::write(page(&body), "").unwrap();
        drop(store);
        fs::create_dir(spool.join("lost+found")).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(orphans.iter().all(|name| !spool.join(name).exists()));
        assert!(body.exists() && page(&body).exists());
        drop(store);
        // Without the database every file would look like an orphan.
        fs::remove_file(folder.path().join("jobs.sqlite")).unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("spool holds bodies of jobs"), "{error}");
        assert!(body.exists());
    }

    #[test]
    fn leaves_the_database_of_another_program_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("jobs.sqlite"),
            "something else, of some length: no database at all",
        )
        .unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("it is damaged, or belongs to another program"),
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
