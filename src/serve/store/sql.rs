//! The tables of jobs, and every statement that reads or writes them.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde_json::value::RawValue;

use crate::{
    report::Verdict,
    serve::job::{Cost, Job, JobView, Outcome, State},
};

/// Version of the tables. A database of another version is not touched.
pub(super) const LAYOUT: i64 = 2;

/// A job is in state `queued` until it ends: only the process keeps track of running jobs. `kept`
/// counts the bytes of body, report and page, `starts` the crashes during the job. A row of
/// `bodies` is the body of the job with that number; longer bodies are files.
pub(super) const TABLES: &str = "
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

/// One page of the list of jobs.
pub(in crate::serve) struct JobList {
    /// Jobs without their reports, the newest first.
    pub(in crate::serve) jobs: Vec<JobView>,
    /// Cursor of the next page.
    pub(in crate::serve) next: Option<i64>,
}

/// An ended job that is to be deleted.
pub(super) struct Ended {
    pub(super) number: i64,
    /// File name of its body.
    pub(super) body: String,
}

/// Inserts a queued job and returns its number.
pub(super) fn insert_job(connection: &Connection, job: &Job) -> Result<i64> {
    let Job {
        view,
        query,
        body,
        cost,
        ..
    } = job;
    let mut statement = connection.prepare_cached(
        "INSERT INTO jobs (id, state, settings, name, body, bytes, kept, work, memory, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)",
    )?;
    statement.insert(params![
        view.id,
        State::Queued.name(),
        query,
        view.name,
        body.file_name().unwrap_or_default().to_string_lossy(),
        view.bytes as i64,
        cost.work,
        cost.memory as i64,
        view.created
    ])
}

/// Inserts the body of the job with this number.
pub(super) fn insert_body(connection: &Connection, number: i64, bytes: &[u8]) -> Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT INTO bodies (job, bytes) VALUES (?1, ?2)")?;
    statement.execute(params![number, bytes])?;
    Ok(())
}

/// Returns the body of a job, if it is in the database.
pub(super) fn body(connection: &Connection, id: &str) -> Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(
        "SELECT bytes FROM bodies WHERE job = (SELECT number FROM jobs WHERE id = ?1)",
    )?;
    statement.query_row([id], |row| row.get(0)).optional()
}

/// Ends a job at `at`, in seconds since 1970. Returns false, and changes nothing, if it had ended
/// before.
pub(super) fn finish_job(
    connection: &Connection,
    id: &str,
    outcome: &Outcome,
    at: f64,
) -> Result<bool> {
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
        "UPDATE jobs SET state = ?2, finished = ?3, verdict = ?4, summary = ?5, report = ?6,
         error = ?7, kept = kept + COALESCE(OCTET_LENGTH(?6), 0)
         WHERE id = ?1 AND state = 'queued'",
    )?;
    let rows = statement.execute(params![
        id,
        outcome.state().name(),
        at,
        verdict,
        summary,
        report,
        error
    ])?;
    Ok(rows > 0)
}

/// Adds the `bytes` of a page to the space that its job takes. Returns false if there is no such
/// job.
pub(super) fn count_page(connection: &Connection, id: &str, bytes: i64) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET kept = bytes + COALESCE(OCTET_LENGTH(report), 0) + ?2 WHERE id = ?1",
    )?;
    Ok(statement.execute(params![id, bytes])? > 0)
}

/// Counts a crash for each of these jobs.
pub(super) fn count_crashes(connection: &Connection, ids: &[String]) -> Result<()> {
    let mut statement = connection.prepare("UPDATE jobs SET starts = starts + 1 WHERE id = ?1")?;
    for id in ids {
        statement.execute([id])?;
    }
    Ok(())
}

/// Returns true if there is a job with this id.
pub(super) fn has_job(connection: &Connection, id: &str) -> Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    statement.exists([id])
}

/// Returns a job with its report. `spool` is the folder of the bodies.
pub(super) fn job(connection: &Connection, id: &str, spool: &Path) -> Result<Option<Job>> {
    let mut statement = connection.prepare_cached("SELECT * FROM jobs WHERE id = ?1")?;
    let found = statement.query_row([id], |row| {
        let mut job = read_job(row, spool)?;
        let report: Option<String> = row.get("report")?;
        job.view.report = report
            .and_then(|text| RawValue::from_string(text).ok())
            .map(Into::into);
        Ok(job)
    });
    found.optional()
}

/// Returns the queued jobs, the oldest first.
pub(super) fn queued_jobs(connection: &Connection, spool: &Path) -> Result<Vec<Job>> {
    let mut statement =
        connection.prepare("SELECT * FROM jobs WHERE state = 'queued' ORDER BY number")?;
    statement
        .query_map([], |row| read_job(row, spool))?
        .collect()
}

/// Returns up to `limit` jobs before `cursor`, of one state or of all, and of one verdict or of
/// all.
pub(super) fn list(
    connection: &Connection,
    state: Option<State>,
    verdict: Option<Verdict>,
    limit: usize,
    cursor: Option<i64>,
) -> Result<JobList> {
    // Two statements: with a state, an index gives the order.
    let (filter, value) = match state {
        None => ("?1", "all"),
        Some(state) => ("state", state.name()),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT number, id, state, name, bytes, created, finished, verdict, summary, error
         FROM jobs WHERE {filter} = ?1 AND COALESCE(verdict = ?2, ?2 IS NULL) AND number < ?3
         ORDER BY number DESC LIMIT ?4",
    ))?;
    let verdict = verdict.map(|verdict| verdict.to_string());
    let before = cursor.unwrap_or(i64::MAX);
    // One row more than asked for shows that there is a next page.
    let rows = statement.query_map(params![value, verdict, before, limit as i64 + 1], |row| {
        Ok((row.get::<_, i64>("number")?, read_view(row)?))
    })?;
    let mut rows = rows.collect::<Result<Vec<_>>>()?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|(number, _)| *number);
    let jobs = rows.into_iter().map(|(_, view)| view).collect();
    Ok(JobList { jobs, next })
}

/// Returns a job to delete, unless it has not ended.
pub(super) fn ended(connection: &Connection, id: &str) -> Result<Option<Ended>> {
    let mut statement = connection
        .prepare_cached("SELECT number, body FROM jobs WHERE id = ?1 AND finished IS NOT NULL")?;
    let found = statement.query_row([id], |row| {
        Ok(Ended {
            number: row.get("number")?,
            body: row.get("body")?,
        })
    });
    found.optional()
}

/// Returns the ended jobs to delete: those that ended before `oldest`, in seconds since 1970, and
/// of the others the first ones until all jobs together keep at most `max_bytes`.
pub(super) fn expired(connection: &Connection, oldest: f64, max_bytes: i64) -> Result<Vec<Ended>> {
    // Two look-ups in an index: usually nothing is expired, and no reader must wait for that.
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE finished < ?1),
         (SELECT COALESCE(SUM(kept), 0) FROM jobs)",
    )?;
    let (some_are_old, kept): (bool, i64) =
        statement.query_row([oldest], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut surplus = kept.saturating_sub(max_bytes);
    if !some_are_old && surplus <= 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT number, body, kept, finished < ?1 AS is_old FROM jobs
         WHERE finished IS NOT NULL ORDER BY finished < ?1 DESC, number",
    )?;
    let mut ended = statement.query([oldest])?;
    let mut expired = Vec::new();
    while let Some(row) = ended.next()?
        && (row.get("is_old")? || surplus > 0)
    {
        expired.push(Ended {
            number: row.get("number")?,
            body: row.get("body")?,
        });
        surplus = surplus.saturating_sub(row.get("kept")?);
    }
    Ok(expired)
}

/// Deletes jobs and their bodies.
pub(super) fn delete_jobs(connection: &Connection, numbers: &[i64]) -> Result<()> {
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

/// Reads a job without its report from a row of all columns.
fn read_job(row: &Row<'_>, spool: &Path) -> Result<Job> {
    let body: String = row.get("body")?;
    Ok(Job {
        view: read_view(row)?,
        query: row.get("settings")?,
        body: spool.join(body),
        cost: Cost {
            work: row.get("work")?,
            memory: row.get::<_, i64>("memory")? as u64,
        },
        crashes: row.get::<_, i64>("starts")? as usize,
    })
}

/// Reads the part of a job that clients see, without the report.
fn read_view(row: &Row<'_>) -> Result<JobView> {
    let state: String = row.get("state")?;
    let verdict: Option<String> = row.get("verdict")?;
    Ok(JobView {
        id: row.get("id")?,
        // A later version may have written an unknown state. It cannot be run.
        state: State::named(&state).unwrap_or(State::Failed),
        name: row.get("name")?,
        bytes: row.get::<_, i64>("bytes")? as u64,
        created: row.get("created")?,
        finished: row.get("finished")?,
        progress: None,
        verdict: verdict.and_then(|name| serde_json::from_value(name.into()).ok()),
        summary: row.get("summary")?,
        report: None,
        error: row.get("error")?,
    })
}
