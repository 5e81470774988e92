//! Who is served.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::{Service, refusal::Refusal, upload::Incoming};

/// Whether everybody may read a path: it says nothing of anybody's jobs.
pub(super) fn is_open(path: &str) -> bool {
    let open = [
        "/",
        "/service.js",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/example.safetensors",
    ];
    open.contains(&path)
}

/// What stands before a token.
const SCHEME: &[u8] = b"Bearer ";

/// Lets a request pass, or refuses it.
pub(super) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = is_open(request.uri().path());
    let allowed = match &service.options.token {
        Some(token) if !is_open => present(request.headers(), token),
        Some(_) => Ok(()),
        None => is_meant(&service, &request),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let (head, body) = request.into_parts();
            Incoming::new(&head.headers, body).drain().await;
            refusal.into_response()
        }
    }
}

/// Whether the right token is presented; the comparison takes as long for a wrong one.
fn present(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    let presented = headers.get(header::AUTHORIZATION);
    let presented = presented.and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
    });
    let same = presented.is_some_and(|presented| presented.ct_eq(token.as_bytes()).into());
    let detail = match presented {
        _ if same => return Ok(()),
        Some(_) => "the token is not this service's",
        None => {
            "this service wants a token: --token-file on the command line, Authorization: Bearer TOKEN in HTTP"
        }
    };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, detail))
}

/// Whether a request was meant for this service, where nobody presents a token: a page from elsewhere, in a browser on this machine, could
/// otherwise have a name of its own resolve to this address. A link from there may be followed, which tells that page nothing.
fn is_meant(service: &Service, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    let is_link = request.method() == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document");
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // Where a page does not say how far away it is, it says whence it comes.
    let origin = headers.get(header::ORIGIN);
    let is_elsewhere = origin.is_some_and(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").map(|(_, host)| host) != host
    });
    let is_foreign = match headers.get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none" && !is_link,
        None => is_elsewhere,
    };
    let is_local = host.is_none_or(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                name
            } else {
                host
            }
        });
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<std::net::IpAddr>()
                .is_ok_and(|it| it.is_loopback())
    });
    let is_loopback = service.options.listen.ip().is_loopback();
    if (is_local || !is_loopback) && !is_foreign {
        Ok(())
    } else {
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this service answers to localhost, and to no page from elsewhere",
        ))
    }
}
