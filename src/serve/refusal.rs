//! Why a request gets no answer: a status and a sentence, as application/problem+json (RFC 9457).

use std::path::Path;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::in_words;
use crate::error::Error;

/// Its type of content.
pub(super) const TYPE: &str = "application/problem+json";

/// The body of an answer with a status of 400 or more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// What that status is called.
    pub(super) title: &'static str,
    /// What is wrong, in the sentence that the command line would say.
    pub(super) detail: String,
    /// Seconds after which the same request may be granted.
    #[serde(skip)]
    pub(super) retry_after: Option<u64>,
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

    /// Not now, but in so many seconds.
    pub(super) fn later(status: StatusCode, seconds: u64, detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(status, detail)
        }
    }

    /// No job, no page: there is nothing under that name.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    pub(super) fn no_such_check() -> Self {
        Self::not_found("such check, or it has been let go")
    }

    /// In words that speak of a body by the name that its sender gave it.
    pub(super) fn of_body(mut self, body: &Path, called: &str) -> Self {
        self.detail = in_words(&self.detail, body, called);
        self
    }

    /// A fault of the service, not of the request.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("{error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Format { .. } | Error::Usage(_) => StatusCode::BAD_REQUEST,
            Error::MissingTensor { .. }
            | Error::Shape { .. }
            | Error::Dtype { .. }
            | Error::NotFinite { .. }
            | Error::Target { .. }
            | Error::Setting { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                // Where that is says the log.
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
