//! The answer to a request that is not served: a status and a sentence, as
//! application/problem+json (RFC 9457).

use std::path::Path;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::error::Error;

/// Content type of a refusal.
const TYPE: &str = "application/problem+json";

/// Seconds after which a client may retry while the queue is full or the service restarts. Chosen.
const RETRY: u64 = 5;

/// Body of an answer with a status of 400 or more.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// Name of that status.
    pub(super) title: &'static str,
    /// Explanation, the sentence that the command line would print.
    pub(super) detail: String,
    /// Seconds after which the client may retry, for the header `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn unknown_check() -> Self {
        Self::not_found("unknown check: the id is wrong, or the check has been deleted")
    }

    pub(super) fn queue_full() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "the queue is full").retry_after(RETRY)
    }

    pub(super) fn too_many_uploads() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many uploads at a time").retry_after(1)
    }

    pub(super) fn shutting_down() -> Self {
        let detail = "the service is shutting down and accepts no more jobs";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY)
    }

    /// Returns a refusal for a fault of the service, and logs it.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("{error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    /// Replaces the path of a body by the name that its client gave it.
    pub(super) fn with_body_named(mut self, body: &Path, name: &str) -> Self {
        self.detail = with_body_named(&self.detail, body, name);
        self
    }

    fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }
}

/// Replaces the path of a body in a message by the name that its client gave it.
pub(super) fn with_body_named(message: &str, body: &Path, name: &str) -> String {
    message.replace(&body.display().to_string(), name)
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Format { .. } | Error::Usage(_) => StatusCode::BAD_REQUEST,
            Error::MissingTensor { .. }
            | Error::NoGradient { .. }
            | Error::Model { .. }
            | Error::Shape { .. }
            | Error::Dtype { .. }
            | Error::NotFinite { .. }
            | Error::Target { .. }
            | Error::Setting { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                // The path is for the log alone.
                tracing::error!("{error}");
                let detail = "the service's disk is full";
                return Self::new(StatusCode::INSUFFICIENT_STORAGE, detail);
            }
            Error::Io { .. }
            | Error::NoDevice { .. }
            | Error::Gpu { .. }
            | Error::Miscomputes { .. }
            | Error::OraclesDisagree { .. }
            | Error::Service(_) => return Self::internal(&error),
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
