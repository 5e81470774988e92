//! Jobs under `/v1/checks`: list, state, events, page, cancellation and deletion.

use std::{fs, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, Path, RawQuery, State},
    http::{StatusCode, request::Parts},
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;
use tokio::sync::oneshot;

use super::events;
use crate::serve::{
    job::{self, Job, JobView, Outcome},
    query::ListRequest,
    queue::PageRequest,
    refusal::Refusal,
    service::{Service, announce_end, blocking},
    store::{self, JobList},
};

/// One page of the list of jobs.
#[derive(Serialize)]
pub(super) struct List {
    /// Jobs without their reports, the newest first.
    checks: Vec<JobView>,
    /// Value of `cursor` for the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Answers with one page of the list of jobs.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<List>, Refusal> {
    let request = ListRequest::parse(&query.unwrap_or_default())?;
    Ok(Json(blocking(move || find(&service, &request)).await?))
}

/// Finds one page of the list of jobs.
fn find(service: &Service, request: &ListRequest) -> Result<List, Refusal> {
    // The store does not distinguish running jobs from queued ones.
    let stored = request.state.map(|state| match state {
        job::State::Running => job::State::Queued,
        other => other,
    });
    let &ListRequest {
        state,
        verdict,
        limit,
        mut cursor,
    } = request;
    loop {
        let JobList { jobs, next } = service.store.list(stored, verdict, limit, cursor)?;
        let current = jobs.into_iter().map(|view| current(service, view));
        let mut checks = current.collect::<Result<Vec<_>, _>>()?;
        checks.retain(|view| {
            let has_verdict = verdict.is_none() || view.verdict == verdict;
            has_verdict && state.is_none_or(|state| view.state == state)
        });
        // Skip an empty page.
        if !checks.is_empty() || next.is_none() {
            return Ok(List { checks, next });
        }
        cursor = next;
    }
}

/// Returns the current state of a job that the store listed.
fn current(service: &Service, view: JobView) -> Result<JobView, Refusal> {
    if let Some(handle) = service.queue.handle(&view.id) {
        return Ok(handle.view());
    }
    if view.state.is_final() {
        return Ok(view);
    }
    // The job has ended since the store was read.
    let ended = service.store.job(&view.id)?;
    Ok(ended.map_or(view, |job| JobView {
        report: None,
        ..job.view
    }))
}

/// The id in a path. A malformed id is a 404.
pub(super) struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id))
            .map_err(|_| Refusal::unknown_check())
    }
}

/// Answers with a job as it is now, and its report if it has one.
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Json<JobView>, Refusal> {
    if let Some(handle) = service.queue.handle(&id) {
        return Ok(Json(handle.view()));
    }
    Ok(Json(stored(&service, id).await?.view))
}

/// Returns a job from the store.
async fn stored(service: &Arc<Service>, id: String) -> Result<Job, Refusal> {
    let service = service.clone();
    let found = blocking(move || Ok(service.store.job(&id)?));
    found.await?.ok_or_else(Refusal::unknown_check)
}

/// Answers with the states of a job as server-sent events.
pub(super) async fn watch(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    if let Some(handle) = service.queue.handle(&id) {
        let shutdown = service.shutdown.subscribe();
        return Ok(events::follow(handle.watch(), shutdown).into_response());
    }
    Ok(events::single(stored(&service, id).await?.view).into_response())
}

/// Cancels a job, or deletes one that has ended. A running job stops a moment later.
pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let Some((handle, queued)) = service.queue.cancel(&id) else {
        let deleted = blocking(move || Ok(service.store.delete(&id)?));
        return if deleted.await? {
            Ok(StatusCode::NO_CONTENT.into_response())
        } else {
            Err(Refusal::unknown_check())
        };
    };
    let status = if queued.is_some() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let saved = blocking(move || {
        let at = job::now();
        // The end of a running job is saved, too: if the process ends before the job stops, the job
        // must not run again.
        let saved = service.store.finish_now(&id, &Outcome::Cancelled, at);
        match (saved, queued) {
            (Ok(_), Some(job)) => {
                let Service { queue, metrics, .. } = &*service;
                announce_end(queue, metrics, job, Outcome::Cancelled, at);
            }
            (Ok(_), None) => {}
            (Err(error), queued) => {
                // The worker finds the job cancelled, and tries again to save its end.
                if let Some(job) = queued {
                    service.queue.requeue(job);
                }
                return Err(error.into());
            }
        }
        Ok(handle.view())
    });
    Ok((status, Json(saved.await?)).into_response())
}

/// Answers with the report as a page, the same as `gradprobe check --html` writes.
pub(super) async fn page(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let no_report = |state: job::State| {
        let predicate = state.predicate();
        Refusal::not_found(format!("there is no report: the check {predicate}"))
    };
    if let Some(handle) = service.queue.handle(&id) {
        return Err(no_report(handle.view().state));
    }
    let job = stored(&service, id).await?;
    if job.view.state != job::State::Done {
        return Err(no_report(job.view.state));
    }
    let kept = store::page(&job.body);
    if let Ok(text) = blocking(move || Ok(fs::read_to_string(kept))).await? {
        return Ok(Html(text).into_response());
    }
    let (answer, rendered) = oneshot::channel();
    service.queue.push_page(PageRequest { job, answer });
    match rendered.await {
        Ok(text) => Ok(Html(text?).into_response()),
        Err(_) => Err(Refusal::shutting_down()),
    }
}
