//! `POST /v1/checks`: a body becomes a job.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

use crate::serve::{
    job::{Cost, JobView},
    query::CheckRequest,
    queue::Slot,
    refusal::Refusal,
    service::{Service, blocking},
    upload::{self, Incoming, Upload},
};

/// Receives, inspects and keeps a body, and answers with the job.
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut body = Incoming::new(&headers, body);
    let received = receive(&service, query, &headers, &mut body).await;
    let (request, upload, _slot) = match received {
        Ok(received) => received,
        Err(refusal) => {
            body.drain().await;
            return Err(refusal);
        }
    };
    let wait = request.wait;
    let permits = if upload.is_quick() {
        &service.quick_inspections
    } else {
        &service.slow_inspections
    };
    let permit = permits.clone().acquire_owned().await;
    let inspected = blocking({
        let service = service.clone();
        move || {
            // Held by the thread, not by the request: a client that disconnects does not make
            // room for another inspection.
            let _permit = permit;
            inspect(&service, &request, &upload).map(|cost| (request, upload, cost))
        }
    });
    let (request, upload, cost) = inspected.await?;
    let kept = blocking({
        let service = service.clone();
        move || keep(&service, request, upload, cost)
    });
    let mut job = kept.await?;
    let view = match wait {
        Some(wait) => wait_for_end(&service, &mut job, wait).await,
        None => job.borrow().clone(),
    };
    if wait.is_some() && view.state.is_final() {
        return Ok(Json(view).into_response());
    }
    let location = format!("/v1/checks/{}", view.id);
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(view),
    )
        .into_response())
}

/// Waits until a job has ended, the service shuts down or the time is over. Returns the job.
async fn wait_for_end(
    service: &Service,
    job: &mut watch::Receiver<JobView>,
    time: Duration,
) -> JobView {
    let mut shutdown = service.shutdown.subscribe();
    let ended = async {
        tokio::select! {
            _ = job.wait_for(|view| view.state.is_final()) => {}
            _ = shutdown.wait_for(|shutdown| *shutdown) => {}
        }
    };
    // After a timeout the answer is the job as it is then.
    let _ = tokio::time::timeout(time, ended).await;
    job.borrow().clone()
}

/// Receives a body, and returns the request, the body, and a slot of the queue.
async fn receive(
    service: &Arc<Service>,
    query: Option<String>,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<(CheckRequest, Upload, Slot), Refusal> {
    let request = CheckRequest::parse(&query.unwrap_or_default())?;
    if service.is_shutting_down() {
        return Err(Refusal::shutting_down());
    }
    let slot = service.queue.reserve(service.options.limits.queue);
    let slot = slot.ok_or_else(Refusal::queue_full)?;
    upload::check_head(service, headers)?;
    let Ok(_permit) = service.uploads.try_acquire() else {
        return Err(Refusal::too_many_uploads());
    };
    let format = request.name.as_deref().and_then(upload::format_of_name);
    let upload = upload::receive(service, body, format).await?;
    Ok((request, upload, slot))
}

/// Validates a body and returns the cost of its check.
fn inspect(service: &Service, request: &CheckRequest, upload: &Upload) -> Result<Cost, Refusal> {
    let settings = &request.settings;
    let loaded = service.load(settings, &upload.body.source());
    let (case, memory) = loaded.map_err(|error| {
        let name = request.name.as_deref().unwrap_or("the body");
        Refusal::from(error).with_body_named(&upload.body.path(), name)
    })?;
    let work = case.work(&settings.options(false));
    Ok(Cost { work, memory })
}

/// Keeps a body as a job, queues it, and returns a receiver of its changes.
fn keep(
    service: &Service,
    request: CheckRequest,
    upload: Upload,
    cost: Cost,
) -> Result<watch::Receiver<JobView>, Refusal> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let view = JobView::queued(id, request.name, upload.bytes);
    let job = service
        .store
        .accept(view, request.query, cost, upload.body)?;
    service.metrics.accepted(upload.bytes);
    tracing::info!(
        "{}: accepted, {}, {} bytes",
        job.view.id,
        job.view.name.as_deref().unwrap_or("no name"),
        upload.bytes
    );
    Ok(service.queue.push(job).watch())
}
