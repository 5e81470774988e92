//! What can be asked: a handler for each path.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::ToSchema;

use super::{
    Service, auth, blocking, events,
    job::{self, Job, now},
    openapi, page,
    query::{Asked, Listing},
    queue::{PageRequest, Place},
    refusal::Refusal,
    store::{self, Cost, Listed, Outcome, Ticket},
    upload::{self, Incoming, Upload},
    worker,
};
use crate::{device, gpu, report::DeviceInfo};

/// Seconds after which a full queue may have room.
const RETRY: u64 = 5;
/// All paths.
pub(super) fn router(service: Arc<Service>) -> Router {
    let header = |name: &'static str, value: &'static str| {
        let name = HeaderName::from_static(name);
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .route("/", get(page::page))
        .route("/service.js", get(page::script))
        .route("/example.safetensors", get(page::example))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/devices", get(devices))
        .route("/v1/checks", get(list).post(create))
        .route("/v1/checks/{id}", get(show).delete(cancel))
        .route("/v1/checks/{id}/events", get(watch))
        .route("/v1/checks/{id}/report.html", get(report_page))
        .fallback(async || Refusal::not_found("such path; /openapi.json has those that there are"))
        .method_not_allowed_fallback(async || {
            let detail =
                "this path does not take that method; /openapi.json has those that it does";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(middleware::from_fn_with_state(service.clone(), auth::guard))
        .layer(middleware::from_fn_with_state(service.clone(), count))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("cache-control", "no-store"))
        .layer(header("referrer-policy", "no-referrer"))
        .layer(header("content-security-policy", page::POLICY))
        .with_state(service)
}

/// Counts what is refused.
async fn count(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    let status = response.status();
    if status.as_u16() >= 400 {
        service.metrics.refused(status.as_u16());
        tracing::info!("{method} {}: {status}", uri.path());
    }
    response
}

/// That it is there.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It is there", content_type = "text/plain")))]
pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether jobs are taken.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "Jobs are taken", content_type = "text/plain"), (status = 503, description = "The service is about to end, or has lost its database")))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Refusal> {
    if service.is_ending() {
        return Err(ending());
    }
    let store = blocking({
        let service = service.clone();
        move || Ok(service.store.is_ready())
    });
    if store.await? {
        Ok("ready\n")
    } else {
        Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the job database cannot be read",
        ))
    }
}

fn ending() -> Refusal {
    let detail = "this service is about to end, and takes no more jobs";
    Refusal::later(StatusCode::SERVICE_UNAVAILABLE, RETRY, detail)
}

/// Counts and times, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "Text in the format of OpenMetrics", content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = service.metrics.render(service.queue.waiting());
    ([(header::CONTENT_TYPE, kind)], text)
}

/// The devices of the machine.
#[derive(Serialize, ToSchema)]
pub(super) struct Devices {
    /// The one that checks are computed on.
    #[schema(value_type = Object)]
    used: Option<DeviceInfo>,
    /// All that there are: the processor, and what drivers offer.
    #[schema(value_type = Vec<Object>)]
    present: Vec<DeviceInfo>,
}

/// What computes.
#[utoipa::path(get, path = "/v1/devices", responses((status = 200, description = "The processor, and what drivers offer", body = Devices)))]
pub(super) async fn devices(State(service): State<Arc<Service>>) -> Result<Json<Devices>, Refusal> {
    let used = service.device.get().cloned();
    let present = blocking(|| {
        let adapters = gpu::adapters();
        let gpus = adapters.iter().map(|adapter| adapter.info().clone());
        Ok(std::iter::once(device::cpu_info()).chain(gpus).collect())
    });
    Ok(Json(Devices {
        used,
        present: present.await?,
    }))
}

/// Asks for a check of the tensors in the body: a .safetensors or .npz file, as `gradprobe check` takes it.
#[utoipa::path(
    post,
    path = "/v1/checks",
    params(
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 300, description = "Seconds to wait for the report"),
        ("name" = Option<String>, Query, description = "What to call it in lists and in the report"),
    ),
    responses(
        (status = 200, description = "It has ended while the request waited", body = Job),
        (status = 202, description = "It is accepted, and outlives this process", body = Job, headers(("Location" = String, description = "Where it is told of"))),
        (status = 400, description = "No readable file, or no such setting or value"),
        (status = 408, description = "The body came too slowly"),
        (status = 413, description = "The body is too long"),
        (status = 415, description = "The body is of another type"),
        (status = 422, description = "The tensors do not fit each other or the settings, or their check takes more memory than the service has for one"),
        (status = 429, description = "The queue is full, or too many bodies are under way"),
        (status = 503, description = "The service is about to end"),
        (status = 507, description = "The disk is full"),
    )
)]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut body = Incoming::new(&headers, body);
    let received = receive(&service, query, &headers, &mut body).await;
    let (asked, upload, _place) = match received {
        Ok(received) => received,
        Err(refusal) => {
            body.drain().await;
            return Err(refusal);
        }
    };
    let wait = asked.wait;
    // Whoever goes away meanwhile leaves no room for another to be looked at.
    let looks = &service.looks[usize::from(!upload.is_soon_looked_at())];
    let looking = looks.clone().acquire_owned().await;
    let looked = blocking({
        let service = service.clone();
        move || {
            let _looking = looking;
            look(&service, asked, upload)
        }
    });
    let (asked, upload, cost) = looked.await?;
    let live = blocking({
        let service = service.clone();
        move || accept(&service, asked, upload, cost)
    });
    let mut watched = live.await?;
    let mut ending = service.ending.subscribe();
    let mut job = watched.borrow_and_update().clone();
    if let Some(wait) = wait {
        let ended = async {
            tokio::select! {
                _ = watched.wait_for(|job| job.state.is_final()) => {}
                _ = ending.wait_for(|ending| *ending) => {}
            }
        };
        // Whichever comes first.
        let _ = tokio::time::timeout(wait, ended).await;
        job = watched.borrow().clone();
    }
    if wait.is_some() && job.state.is_final() {
        return Ok(Json(job).into_response());
    }
    let location = format!("/v1/checks/{}", job.id);
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(job),
    )
        .into_response())
}

/// What a request asks for, its body, and the place of its job.
async fn receive(
    service: &Arc<Service>,
    query: Option<String>,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<(Asked, Upload, Place), Refusal> {
    let asked = Asked::parse(&query.unwrap_or_default())?;
    if service.is_ending() {
        return Err(ending());
    }
    let Some(place) = service.queue.hold(service.options.limits.queue) else {
        let detail = "the queue is full";
        return Err(Refusal::later(StatusCode::TOO_MANY_REQUESTS, RETRY, detail));
    };
    upload::admit(service, headers)?;
    let Ok(_receiving) = service.uploads.try_acquire() else {
        let detail = "too many bodies are being received";
        return Err(Refusal::later(StatusCode::TOO_MANY_REQUESTS, 1, detail));
    };
    let format = asked.name.as_deref().and_then(upload::format_of_name);
    let upload = upload::receive(service, body, format).await?;
    Ok((asked, upload, place))
}

/// Looks at what was received, which maps or unpacks it.
fn look(service: &Service, asked: Asked, upload: Upload) -> Result<(Asked, Upload, Cost), Refusal> {
    let settings = &asked.settings;
    let loaded = service.load(settings, &upload.body.source());
    let (case, memory) = loaded.map_err(|error| {
        let called = asked.name.as_deref().unwrap_or("the body");
        Refusal::from(error).of_body(&upload.body.path(), called)
    })?;
    let (problem, options) = (&case.problem, settings.options(false));
    let works = case
        .subjects
        .iter()
        .map(|subject| options.derivative(subject.wrt).work(problem) as f64);
    let work = problem.n() as f64 * works.sum::<f64>();
    Ok((asked, upload, Cost { work, memory }))
}

/// Keeps it as a job.
fn accept(
    service: &Service,
    asked: Asked,
    upload: Upload,
    cost: Cost,
) -> Result<tokio::sync::watch::Receiver<Job>, Refusal> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let job = Job::queued(id, asked.name, upload.bytes);
    let ticket = service.store.accept(job, asked.query, cost, upload.body)?;
    service.metrics.accepted(upload.bytes);
    let called = ticket.job.name.as_deref().unwrap_or("no name");
    tracing::info!(
        "{}: accepted, {called}, {} bytes",
        ticket.job.id,
        upload.bytes
    );
    Ok(service.queue.push(ticket).watch())
}

/// A part of the list of jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct List {
    /// The latest first, without their reports.
    checks: Vec<Job>,
    /// What `cursor` is to be for the next part, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// The jobs that are kept, the latest first.
#[utoipa::path(
    get,
    path = "/v1/checks",
    params(
        ("state" = Option<job::State>, Query, description = "Only those in that state"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000, description = "How many at most: 50 where it is not said"),
        ("cursor" = Option<i64>, Query, description = "Where to go on: the `next` of the part before"),
    ),
    responses((status = 200, description = "A part of the list", body = List), (status = 400, description = "No such parameter"))
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<List>, Refusal> {
    let Listing {
        state: asked,
        limit,
        cursor,
    } = Listing::parse(&query.unwrap_or_default())?;
    // Which of those that have not ended run now, only the queue knows.
    let kept = asked.map(|state| match state {
        job::State::Running => job::State::Queued,
        other => other,
    });
    let list = move || {
        let mut cursor = cursor;
        loop {
            let Listed { jobs, next } = service.store.list(kept, limit, cursor)?;
            let now = |job: Job| -> Result<Job, Refusal> {
                match service.queue.live(&job.id) {
                    Some(live) => Ok(live.job()),
                    None if job.state.is_final() => Ok(job),
                    // It has ended since it was read.
                    None => Ok(service.store.ticket(&job.id)?.map_or(job, |ended| Job {
                        report: None,
                        ..ended.job
                    })),
                }
            };
            let jobs: Result<Vec<Job>, _> = jobs.into_iter().map(now).collect();
            let mut checks = jobs?;
            checks.retain(|job| asked.is_none_or(|state| job.state == state));
            // A part in which there is none of them tells nobody anything.
            if !checks.is_empty() || next.is_none() {
                return Ok(List { checks, next });
            }
            cursor = next;
        }
    };
    Ok(Json(blocking(list).await?))
}

/// A job's name in a path. What cannot be one is one that there is not.
pub(super) struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id))
            .map_err(|_| Refusal::no_such_check())
    }
}

/// A job as it is now; with its report, if it has one.
#[utoipa::path(get, path = "/v1/checks/{id}", params(("id" = String, Path)), responses((status = 200, description = "The job", body = Job), (status = 404, description = "No such check")))]
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Json<Job>, Refusal> {
    if let Some(live) = service.queue.live(&id) {
        return Ok(Json(live.job()));
    }
    Ok(Json(ticket(&service, id).await?.job))
}

/// What is kept of a job that has ended.
async fn ticket(service: &Arc<Service>, id: String) -> Result<Ticket, Refusal> {
    let service = service.clone();
    let found = blocking(move || Ok(service.store.ticket(&id)?));
    found.await?.ok_or_else(Refusal::no_such_check)
}

/// A job's states as server-sent events, each with the job: `queued`, `running` with its progress, and `done`, `failed` or `cancelled`.
#[utoipa::path(get, path = "/v1/checks/{id}/events", params(("id" = String, Path)), responses((status = 200, description = "Server-sent events", content_type = "text/event-stream"), (status = 404, description = "No such check")))]
pub(super) async fn watch(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    if let Some(live) = service.queue.live(&id) {
        let ending = service.ending.subscribe();
        return Ok(events::stream_of(live.watch(), ending).into_response());
    }
    Ok(events::single(ticket(&service, id).await?.job).into_response())
}

/// Ends a job that nobody wants any more.
#[utoipa::path(delete, path = "/v1/checks/{id}", params(("id" = String, Path)), responses(
    (status = 200, description = "It is cancelled", body = Job),
    (status = 202, description = "It runs, and will be cancelled in a moment unless it ends before", body = Job),
    (status = 404, description = "No such check"),
    (status = 409, description = "It has ended"),
))]
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let Some((live, waiting)) = service.queue.cancel(&id) else {
        let job = ticket(&service, id).await?.job;
        let detail = format!("it has ended already: it {}", job.state.said());
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    };
    let Some(waiting) = waiting else {
        // Kept at once: it is not to run again when the process ends before the worker has seen it.
        let kept = blocking({
            let service = service.clone();
            move || Ok(service.store.finish_now(&id, &Outcome::Cancelled, now())?)
        });
        kept.await?;
        return Ok((StatusCode::ACCEPTED, Json(live.job())).into_response());
    };
    let kept = blocking(move || {
        let at = now();
        if let Err(error) = service.store.finish_now(&id, &Outcome::Cancelled, at) {
            // In its turn it is tried again.
            service.queue.put_back(waiting);
            return Err(error.into());
        }
        worker::tell(
            &service.queue,
            &service.metrics,
            waiting,
            Outcome::Cancelled,
            at,
        );
        Ok(live.job())
    });
    Ok(Json(kept.await?).into_response())
}

/// The report as a page, the same as `gradprobe check --html` writes.
#[utoipa::path(get, path = "/v1/checks/{id}/report.html", params(("id" = String, Path)), responses((status = 200, description = "A page that needs nothing else", content_type = "text/html"), (status = 404, description = "No such check, or no report of it"), (status = 503, description = "The service is about to end")))]
pub(super) async fn report_page(
    State(service): State<Arc<Service>>,
    Id(id): Id,
) -> Result<Response, Refusal> {
    let none_yet =
        |state: job::State| Refusal::not_found(&format!("report: this check {}", state.said()));
    if let Some(live) = service.queue.live(&id) {
        return Err(none_yet(live.job().state));
    }
    let ticket = ticket(&service, id).await?;
    if ticket.job.state != job::State::Done {
        return Err(none_yet(ticket.job.state));
    }
    let kept = store::page(&ticket.body);
    if let Ok(text) = blocking(move || Ok(std::fs::read_to_string(kept))).await? {
        return Ok(Html(text).into_response());
    }
    let (answer, drawn) = tokio::sync::oneshot::channel();
    service.queue.push_page(PageRequest { ticket, answer });
    match drawn.await {
        Ok(text) => Ok(Html(text?).into_response()),
        Err(_) => Err(ending()),
    }
}
