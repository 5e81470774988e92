//! Authentication by a token, and without one protection against other sites.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::{refusal::Refusal, service::Service, upload::Incoming};

/// Returns true if a path needs no token: it reveals nothing about jobs.
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

/// Passes a request on, or refuses it.
pub(super) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = is_open(request.uri().path());
    let allowed = match &service.options.token {
        Some(token) if !is_open => check_token(request.headers(), token),
        Some(_) => Ok(()),
        None => {
            let is_loopback = service.options.listen.ip().is_loopback();
            check_origin(&request, is_loopback)
        }
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

/// Compares the token of a request with the service's. The time does not depend on the number of
/// matching bytes.
fn check_token(headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
    const SCHEME: &[u8] = b"Bearer ";
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
    });
    let detail = match presented {
        Some(presented) if presented.ct_eq(token.as_bytes()).into() => return Ok(()),
        Some(_) => "wrong token",
        None => {
            "this service requires a token: give --token-file on the command line, or send the \
             header Authorization: Bearer TOKEN"
        }
    };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, detail))
}

/// Refuses requests that a page of another site sends through a browser on this machine.
///
/// Such a page may call the service by its address, or by a name of its own that resolves to this
/// machine (DNS rebinding). The browser reveals both: in `Sec-Fetch-Site` or `Origin`, and in
/// `Host`. A link on such a page may be followed, since the page cannot read the answer.
fn check_origin(request: &Request, is_loopback: bool) -> Result<(), Refusal> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_link = request.method() == Method::GET
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    let host = text("host");
    let is_foreign = match headers.get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none" && !is_link,
        // An old browser sends only the origin.
        None => headers.get(header::ORIGIN).is_some_and(|origin| {
            let origin = origin.to_str().unwrap_or_default();
            origin.split_once("://").map(|(_, host)| host) != host
        }),
    };
    if (!is_loopback || host.is_none_or(is_local)) && !is_foreign {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this service answers requests to localhost only, and none from other sites",
    ))
}

/// Returns true if a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}
