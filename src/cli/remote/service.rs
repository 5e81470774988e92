//! The requests to a service.

use std::{fmt::Display, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
    typestate::WithoutBody,
};

use crate::{
    error::{Error, Result},
    io,
    report::Report,
    settings::LONGEST_NAME,
};

/// The seconds that a request waits for its report. Most reports take less. Ctrl-C takes effect
/// after this time.
const WAIT: u64 = 1;
/// The time to connect.
const CONNECTING: Duration = Duration::from_secs(10);
/// The longest answer, 1 GiB. A report that lists very many wrong rows exceeds ureq's default of 10
/// MiB.
const LONGEST_ANSWER: u64 = 1 << 30;

pub(super) struct Service {
    pub(super) url: String,
    agent: Agent,
    token: Option<String>,
}

/// The fields of a job that matter here.
#[derive(Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) progress: Option<Progress>,
    pub(super) report: Option<Report>,
    pub(super) error: Option<String>,
}

/// The progress of a check, in entries.
#[derive(Deserialize)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
}

/// The field of a refusal that matters here.
#[derive(Deserialize)]
struct ProblemDetails {
    detail: String,
}

/// A request that failed.
pub(super) enum Refusal {
    /// The service asks to retry after this time.
    Later(Error, Duration),
    /// The service cannot be reached. It may be restarting.
    Away(Error),
    Final(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Service {
    /// Returns a service at `url` whose answers may take up to `patience`.
    pub(super) fn new(url: String, token: Option<String>, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_recv_response(Some(patience));
        Self {
            url,
            agent: config.build().into(),
            token,
        }
    }

    /// Sends a file to be checked.
    pub(super) fn submit(
        &self,
        name: &str,
        settings: &[(String, String)],
    ) -> std::result::Result<Job, Refusal> {
        let file = io::open_regular(Path::new(name))?;
        let settings = settings.iter();
        let request = self
            .with_token(self.agent.post(self.address("/v1/checks")))
            .header("content-type", "application/octet-stream")
            // The file is not sent at all if the service refuses the headers.
            .header("expect", "100-continue")
            .query("wait", WAIT.to_string())
            .query("name", end_of(name))
            .query_pairs(settings.map(|(name, value)| (&**name, &**value)));
        let mut response = request
            .send(file)
            .map_err(|error| self.unreachable(&error))?;
        if response.status().as_u16() < 400 {
            return Ok(self.read(&mut response)?);
        }
        let later = response.headers().get("retry-after");
        let later: Option<u64> = later.and_then(|value| value.to_str().ok()?.parse().ok());
        let error = self.refusal(&mut response);
        Err(match later {
            Some(seconds) => Refusal::Later(error, Duration::from_secs(seconds)),
            None => Refusal::Final(error),
        })
    }

    /// Returns the state of a job.
    pub(super) fn job(&self, id: &str) -> std::result::Result<Job, Refusal> {
        let response = self.get(&path(id)).call();
        let mut response = response.map_err(|error| Refusal::Away(self.unreachable(&error)))?;
        let status = response.status();
        if is_away(status) {
            let error = self.unusable(&format!("it answered {status}"));
            return Err(Refusal::Away(error));
        }
        self.accept(&mut response)?;
        Ok(self.read(&mut response)?)
    }

    /// Cancels a job.
    pub(super) fn cancel(&self, id: &str) -> Result<()> {
        let request = self.with_token(self.agent.delete(self.address(&path(id))));
        let answered = request.call();
        answered.map(drop).map_err(|error| self.unreachable(&error))
    }

    /// Fetches the HTML page of a job.
    pub(super) fn page(&self, id: &str) -> Result<String> {
        // The page may have to be rendered first, after a check that takes long.
        let request = self.get(&format!("{}/report.html", path(id)));
        let request = request.config().timeout_recv_response(None);
        let answered = request.build().call();
        let mut response = answered.map_err(|error| self.unreachable(&error))?;
        self.accept(&mut response)?;
        self.text(&mut response)
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn get(&self, path: &str) -> ureq::RequestBuilder<WithoutBody> {
        self.with_token(self.agent.get(self.address(path)))
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// # Errors
    /// The service's reason if it refused the request.
    fn accept(&self, response: &mut Response<Body>) -> Result<()> {
        match response.status().as_u16() {
            400.. => Err(self.refusal(response)),
            _ => Ok(()),
        }
    }

    fn read<T: DeserializeOwned>(&self, response: &mut Response<Body>) -> Result<T> {
        let text = self.text(response)?;
        serde_json::from_str(&text).map_err(|error| self.unusable(&error))
    }

    fn text(&self, response: &mut Response<Body>) -> Result<String> {
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER);
        body.read_to_string()
            .map_err(|error| self.unreachable(&error))
    }

    /// Returns the reason in a refusal's body.
    fn refusal(&self, response: &mut Response<Body>) -> Error {
        let status = response.status();
        match self.read::<ProblemDetails>(response) {
            // An unknown path means that the address is wrong.
            Ok(problem) if status == StatusCode::NOT_FOUND => self.unusable(&problem.detail),
            Ok(problem) => Error::Service(problem.detail),
            Err(_) => self.unusable(&format!(
                "it answered {status}, but not in gradprobe's format; is it gradprobe serve?"
            )),
        }
    }

    fn unusable(&self, reason: &dyn Display) -> Error {
        Error::Service(format!("{}: {reason}", self.url))
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        let reason = error.to_string();
        let tip = if self.url.starts_with("https:") {
            "; gradprobe serve itself offers http only, behind a proxy for https"
        } else if reason.contains("Connection refused") {
            "; is gradprobe serve running there?"
        } else {
            ""
        };
        let reason = reason.trim_start_matches("io: ");
        Error::Service(format!("cannot reach {}: {reason}{tip}", self.url))
    }
}

fn path(id: &str) -> String {
    format!("/v1/checks/{id}")
}

/// Returns true if the status means that the service, or the one behind a proxy, is down.
fn is_away(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Returns the end of a file's name, up to the length that the service accepts. The end of a path
/// is more useful than its start.
fn end_of(name: &str) -> &str {
    let surplus = name.chars().count().saturating_sub(LONGEST_NAME);
    let start = name.char_indices().nth(surplus);
    start.map_or("", |(start, _)| &name[start..])
}
