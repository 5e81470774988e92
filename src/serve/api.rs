//! The HTTP interface: its routes, and what all answers have in common.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    middleware::{self, Next},
    response::Response,
    routing::{MethodRouter, get},
};

use super::{auth, refusal::Refusal, service::Service};

mod create;
mod events;
mod jobs;
mod openapi;
mod page;
mod status;

/// Handlers of one path.
type Route = (&'static str, MethodRouter<Arc<Service>>);

/// Returns the routes that the OpenAPI document describes.
fn described_routes() -> [Route; 8] {
    [
        ("/healthz", get(status::healthy)),
        ("/readyz", get(status::ready)),
        ("/metrics", get(status::metrics)),
        ("/v1/devices", get(status::devices)),
        ("/v1/checks", get(jobs::list).post(create::create)),
        ("/v1/checks/{id}", get(jobs::show).delete(jobs::delete)),
        ("/v1/checks/{id}/events", get(jobs::watch)),
        ("/v1/checks/{id}/report.html", get(jobs::page)),
    ]
}

/// Returns the routes of the page for people, and of the OpenAPI document itself.
fn page_routes() -> [Route; 4] {
    [
        ("/", get(page::page)),
        ("/service.js", get(page::script)),
        ("/example.safetensors", get(page::example)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// Returns the router of all requests.
pub(super) fn router(service: Arc<Service>) -> Router {
    let routes = described_routes().into_iter().chain(page_routes());
    routes
        .fold(Router::new(), |router, (path, handlers)| {
            router.route(path, handlers)
        })
        .fallback(async || Refusal::not_found("unknown path; see /openapi.json"))
        .method_not_allowed_fallback(async || {
            let detail = "this path does not support the method; see /openapi.json";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(middleware::from_fn_with_state(service.clone(), auth::guard))
        .layer(middleware::from_fn_with_state(service.clone(), count))
        .layer(middleware::map_response(add_headers))
        .with_state(service)
}

/// Counts and logs refusals.
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

/// Adds the headers that protect a browser, unless the answer has its own.
async fn add_headers(mut response: Response) -> Response {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", page::POLICY),
    ] {
        let entry = response.headers_mut().entry(name);
        entry.or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path, time::Duration};

    use axum::body::Body;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::serve::{Limits, Options};

    fn router_on(folder: &Path) -> Router {
        let service = Service::new(Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: folder.to_owned(),
            device: "cpu".to_owned(),
            memory: 1 << 30,
            token: None,
            insecure: false,
            limits: Limits::default(),
            keep_for: Duration::ZERO,
            keep_bytes: 0,
            grace: Duration::ZERO,
        });
        router(Arc::new(service.unwrap()))
    }

    /// Returns the methods that a path allows, by the answer to one that none allows.
    async fn methods(router: &Router, path: &str) -> BTreeSet<String> {
        let request = Request::builder().method("TRACE").uri(path);
        let request = request.body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(router.clone()).call(request);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap();
        let names = allowed.split(',').filter(|name| *name != "HEAD");
        names.map(str::to_lowercase).collect()
    }

    /// The document describes every route but those of the page, and no other.
    #[tokio::test]
    async fn the_document_describes_the_routes() {
        let folder = tempfile::tempdir().unwrap();
        let router = router_on(folder.path());
        let document = openapi::build();
        let described = document["paths"].as_object().unwrap();
        let paths: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(paths, described_routes().iter().map(|it| it.0).collect());
        for (path, _) in page_routes() {
            assert!(!paths.contains(path), "{path}");
        }
        for (path, item) in described {
            let names: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
            assert_eq!(methods(&router, path).await, names, "{path}");
        }
    }
}
