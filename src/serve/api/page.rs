//! The page for people. It loads nothing from elsewhere.

use axum::{
    http::header,
    response::{Html, IntoResponse},
};

/// Content security policy of every answer. Nothing is loaded from elsewhere and no other site may
/// frame the service. The page shows a report in a frame without scripts.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-src blob:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Answers with the page.
pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("../../../templates/service.html"))
}

/// Answers with the script of the page.
pub(super) async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../../../templates/service.js"))
}

/// Answers with an example to check: the gradient that this project started from, a sum of ten
/// backward passes.
pub(super) async fn example() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    let bytes: &[u8] = include_bytes!("../../../examples/digits-accumulated.safetensors");
    (kind, bytes)
}
