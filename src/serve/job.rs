//! What a client sees of a check that it asked for.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::report::Verdict;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Its turn is to come.
    Queued,
    /// Being checked.
    Running,
    /// There is a report.
    Done,
    /// It could not be checked; `error` says why.
    Failed,
    /// A client did not want it any more.
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

    /// As JSON has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// What is said of a check that is so.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Queued => "waits for its turn",
            Self::Running => "is running",
            Self::Done => "is done",
            Self::Failed => "has failed",
            Self::Cancelled => "was cancelled",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it stays as it is.
    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Entries of the gradients that were begun.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Progress {
    /// Compared.
    pub(super) done: u64,
    /// All.
    pub(super) total: u64,
    /// Compared a second.
    pub(super) rate: f64,
}

/// A check, from its request to its report.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Job {
    /// Its name in URLs.
    pub(super) id: String,
    /// How far it is.
    pub(super) state: State,
    /// What the client called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Bytes of its tensors.
    pub(super) bytes: u64,
    /// When it was accepted, in seconds since 1970.
    pub(super) created: f64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<f64>,
    /// While it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<Progress>,
    /// Of its report: pass, fail or inconclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) verdict: Option<Verdict>,
    /// Of its report: the gradients that were checked, and what was found in those that did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<String>,
    /// The report, as `gradprobe check --json` has it; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) report: Option<Arc<RawValue>>,
    /// Why it could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Job {
    /// One whose turn is to come.
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
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
