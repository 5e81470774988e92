//! The page for people, which needs nothing but this service.

use axum::{
    http::header,
    response::{Html, IntoResponse},
};

/// Nothing is loaded from elsewhere, and nobody frames it; a report's page is shown in a frame of its own, without scripts.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("../../templates/service.html"))
}

pub(super) async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../../templates/service.js"))
}

/// The gradient that the project started from: the sum of ten backward passes.
pub(super) async fn example() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    let bytes: &[u8] = include_bytes!("../../examples/digits-accumulated.safetensors");
    (kind, bytes)
}
