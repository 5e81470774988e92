//! A job: one check, from its request to its report.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::report::Verdict;

/// State of a job. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Queued,
    Running,
    /// Has a report.
    Done,
    /// Could not be checked. `error` gives the reason.
    Failed,
    /// Stopped at a client's request.
    Cancelled,
}

impl State {
    pub(super) const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the end of a sentence about a check in this state.
    pub(super) fn predicate(self) -> &'static str {
        match self {
            Self::Queued => "is queued",
            Self::Running => "is running",
            Self::Done => "is done",
            Self::Failed => "has failed",
            Self::Cancelled => "was cancelled",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Progress over the gradients that the check has begun.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Progress {
    /// Entries compared.
    pub(super) done: u64,
    /// All entries.
    pub(super) total: u64,
    /// Entries compared per second.
    pub(super) rate: f64,
}

/// A job as clients see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobView {
    /// Name of the job in URLs.
    pub(super) id: String,
    pub(super) state: State,
    /// Name that the client gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Bytes of the body.
    pub(super) bytes: u64,
    /// Time of acceptance, in seconds since 1970.
    pub(super) created: f64,
    /// Time of the end, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<f64>,
    /// Present while the check runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    /// Verdict of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    /// Gradients that were checked, and the cause found in those that did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<String>,
    /// Report, as `gradprobe check --json` writes it. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Arc<RawValue>>,
    /// Reason why the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl JobView {
    /// Returns a new, queued job.
    pub(super) fn queued(id: String, name: Option<String>, bytes: u64) -> Self {
        Self {
            id,
            state: State::Queued,
            name,
            bytes,
            created: now(),
            finished: None,
            progress: None,
            verdict: None,
            summary: None,
            report: None,
            error: None,
        }
    }

    /// Returns the job as it ended at `at`, in seconds since 1970.
    pub(super) fn ended(mut self, outcome: Outcome, at: f64) -> Self {
        self.progress = None;
        self.finished = Some(at);
        self.state = outcome.state();
        match outcome {
            Outcome::Done {
                verdict,
                summary,
                report,
            } => {
                self.verdict = Some(verdict);
                self.summary = Some(summary);
                self.report = Some(report);
            }
            Outcome::Failed(error) => self.error = Some(error),
            Outcome::Cancelled => {}
        }
        self
    }
}

/// A job as the service keeps it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) view: JobView,
    /// Query of its request, without `wait` and `name`.
    pub(super) query: String,
    /// File of its body. A body in the database has a path, too, but no file.
    pub(super) body: PathBuf,
    pub(super) cost: Cost,
    /// Number of times that the process crashed while this job ran.
    pub(super) crashes: usize,
}

impl Job {
    /// Returns true if the job itself may crash the process. It was running during two crashes, so
    /// it may be the cause rather than a job beside it. A suspect job runs alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashes > 1
    }

    /// Returns the name that the client gave, or the id.
    pub(super) fn display_name(&self) -> String {
        let JobView { name, id, .. } = &self.view;
        name.as_ref().unwrap_or(id).clone()
    }
}

/// Estimated cost of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// Multiply-adds.
    pub(super) work: f64,
    /// Bytes besides its tensors.
    pub(super) memory: u64,
}

impl Cost {
    pub(super) fn is_within(self, limit: Self) -> bool {
        self.work <= limit.work && self.memory <= limit.memory
    }
}

/// End of a job.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done {
        verdict: Verdict,
        summary: String,
        report: Arc<RawValue>,
    },
    /// The reason.
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

/// Returns the time in seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
