//! `gradprobe check --server`: a service checks, and what it says is told as if it had been done here.

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};
use ureq::{Agent, Body, http::Response};

use crate::{
    check::Listener,
    error::{Error, Result},
    output::{
        Run,
        document::{Document, SCHEMA},
    },
};

#[derive(Args)]
pub(super) struct RemoteArguments {
    /// Have a service check, gradprobe serve at this address, on its own device
    #[arg(long, value_name = "URL", conflicts_with_all = ["input", "numeric", "save_failures"])]
    pub(super) server: Option<String>,
    /// The file that holds the service's token
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
}

/// How long a full queue or a restart is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds that a request waits for its report before it is asked for again.
const WAIT: u64 = 20;
/// Between two questions.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// A service, and what is asked of it.
pub(super) struct Remote {
    url: String,
    agent: Agent,
    token: Option<String>,
    /// By name and value.
    settings: Vec<(String, String)>,
    /// Whether the report's page is wanted.
    html: bool,
}

/// What matters of a job.
#[derive(Deserialize)]
struct Job {
    id: String,
    state: String,
    report: Option<Document>,
    error: Option<String>,
}

/// What matters of a refusal.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Remote {
    /// None without `--server`.
    ///
    /// # Errors
    /// Those of reading the token.
    pub(super) fn new(
        arguments: &RemoteArguments,
        settings: Vec<(String, String)>,
        html: bool,
    ) -> Result<Option<Self>> {
        let Some(server) = &arguments.server else {
            return Ok(None);
        };
        let token = arguments.token_file.as_deref();
        let config = Agent::config_builder().http_status_as_error(false);
        Ok(Some(Self {
            url: server.trim_end_matches('/').to_owned(),
            agent: config.build().into(),
            token: token.map(super::serve::token).transpose()?,
            settings,
            html,
        }))
    }

    /// Sends a file and waits for its report. None if the listener interrupts: then the job is cancelled.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Service`] for whatever the service, or the way to it, says.
    pub(super) fn check(&self, name: &str, listener: &dyn Listener) -> Result<Option<Run>> {
        let started = Instant::now();
        let mut job = loop {
            let mut response = self.send(name)?;
            let status = response.status().as_u16();
            if status < 400 {
                break self.read::<Job>(&mut response)?;
            }
            let later = response.headers().get("retry-after");
            let later = later.and_then(|value| value.to_str().ok()?.parse().ok());
            let refused = self.refusal(&mut response);
            match later {
                Some(seconds) if started.elapsed() < PATIENCE => {
                    tracing::info!("{}: {refused}; asked again in {seconds} s", self.url);
                    std::thread::sleep(Duration::from_secs(seconds));
                }
                _ => return Err(refused),
            }
            if listener.is_interrupted() {
                return Ok(None);
            }
        };
        let path = format!("/v1/checks/{}", job.id);
        let mut pause = PAUSES[0];
        while ["queued", "running"].contains(&job.state.as_str()) {
            if listener.is_interrupted() {
                let cancelled = self.with_token(self.agent.delete(self.url(&path))).call();
                cancelled.map_err(|error| self.failed(&error))?;
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSES[1]);
            job = self.read(&mut self.get(&path)?)?;
        }
        let Some(report) = job.report else {
            let said = job.error.unwrap_or_else(|| format!("it was {}", job.state));
            return Err(Error::Service(said));
        };
        if report.schema != SCHEMA {
            let said = format!(
                "{} reports by the schema {}, and this version reads {SCHEMA}",
                self.url, report.schema
            );
            return Err(Error::Service(said));
        }
        let page = match self.html {
            true => Some(self.text(&mut self.get(&format!("{path}/report.html"))?)?),
            false => None,
        };
        Ok(Some(Run::told(name.to_owned(), report, page)))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn send(&self, name: &str) -> Result<Response<Body>> {
        let file = File::open(name).map_err(Error::io("read", name))?;
        let request = self
            .with_token(self.agent.post(self.url("/v1/checks")))
            .header("content-type", "application/octet-stream")
            .query("wait", WAIT.to_string())
            .query("name", name)
            .query_pairs(
                self.settings
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            );
        request.send(file).map_err(|error| self.failed(&error))
    }

    fn get(&self, path: &str) -> Result<Response<Body>> {
        let request = self.with_token(self.agent.get(self.url(path)));
        let mut response = request.call().map_err(|error| self.failed(&error))?;
        match response.status().as_u16() {
            400.. => Err(self.refusal(&mut response)),
            _ => Ok(response),
        }
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(&self, response: &mut Response<Body>) -> Result<T> {
        let text = self.text(response)?;
        serde_json::from_str(&text).map_err(|error| self.failed(&error))
    }

    fn text(&self, response: &mut Response<Body>) -> Result<String> {
        // A report with all its places is longer than what is read by default.
        let body = response.body_mut().with_config().limit(1 << 30);
        body.read_to_string().map_err(|error| self.failed(&error))
    }

    /// What a service says that does not do what it was asked.
    fn refusal(&self, response: &mut Response<Body>) -> Error {
        let status = response.status();
        match self.read::<Problem>(response) {
            Ok(problem) => Error::Service(problem.detail),
            Err(_) => self.failed(&format!(
                "it answers with {status}, and not as gradprobe does"
            )),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Service(format!("{} cannot be asked: {error}", self.url))
    }
}
