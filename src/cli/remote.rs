//! `gradprobe check --server`: a service checks, and what it says is told as if it had been done here.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, Uri},
    typestate::WithoutBody,
};

use crate::{
    check::Listener,
    error::{Error, Result},
    io,
    output::{
        Run,
        document::{Document, SCHEMA},
    },
    settings::LONGEST_NAME,
};

#[derive(Args)]
pub(super) struct RemoteArguments {
    /// Have a service check, gradprobe serve at this address, on its own device (not with --input, --device, --memory, --numeric or --save-failures)
    #[arg(long, value_name = "URL", value_parser = server, conflicts_with_all = ["input", "numeric", "save_failures", "device", "memory"])]
    pub(super) server: Option<String>,
    /// The file that holds the service's token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// How long a full queue or a restart is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds that a request waits for its report: most come within them, and Ctrl-C is heard after them.
const WAIT: u64 = 1;
/// For a connection to be made.
const CONNECTING: Duration = Duration::from_secs(10);
/// Between two questions.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// An address that paths can be put behind.
fn server(text: &str) -> std::result::Result<String, String> {
    let uri: std::result::Result<Uri, _> = text.parse();
    let is_address = uri.is_ok_and(|uri| {
        let scheme = uri.scheme_str().unwrap_or_default();
        ["http", "https"].contains(&scheme) && uri.host().is_some() && uri.query().is_none()
    });
    if is_address {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("expected an address, such as http://127.0.0.1:8417".to_owned())
    }
}

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
    progress: Option<Progress>,
    report: Option<Document>,
    error: Option<String>,
}

/// How far a check is, in entries.
#[derive(Deserialize)]
struct Progress {
    done: u64,
    total: u64,
}

/// What matters of a refusal.
#[derive(Deserialize)]
struct ProblemDetails {
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
        let token = arguments.token_file.as_deref();
        let Some(server) = &arguments.server else {
            // Not clap's to see: the address may stand in gradprobe.toml.
            return match token {
                Some(_) => Err(Error::Usage(
                    "--token-file is a service's, but there is no --server".to_owned(),
                )),
                None => Ok(None),
            };
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECTING))
            .timeout_recv_response(Some(PATIENCE));
        Ok(Some(Self {
            url: server.clone(),
            agent: config.build().into(),
            token: token.map(super::token::token).transpose()?,
            settings,
            html,
        }))
    }

    /// Sends a file and waits for its report, while `follow` is told how many entries are done, and of how many. None if the listener interrupts: then the job is cancelled.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Service`] for whatever the service, or the way to it, says.
    pub(super) fn check(
        &self,
        name: &str,
        listener: &dyn Listener,
        follow: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Run>> {
        let Some(mut job) = self.ask(name, listener)? else {
            return Ok(None);
        };
        tracing::info!("{} has accepted {name} as {}", self.url, job.id);
        let path = format!("/v1/checks/{}", job.id);
        let mut pause = PAUSES[0];
        // Since when the service is not there: it may be on its way back, and the job outlives that.
        let mut away: Option<Instant> = None;
        while ["queued", "running"].contains(&job.state.as_str()) {
            if listener.is_interrupted() {
                let cancelled = self.with_token(self.agent.delete(self.url(&path))).call();
                match cancelled.map_err(|error| self.failed(&error)) {
                    Ok(_) => tracing::warn!("interrupted: {} is told to cancel {name}", self.url),
                    Err(error) => tracing::warn!(
                        "interrupted, but {error}; it has accepted {name} as {}, and may yet check it",
                        job.id
                    ),
                }
                return Ok(None);
            }
            if let Some(Progress { done, total }) = job.progress {
                follow(done, total);
            }
            tracing::debug!("{name} is {}", job.state);
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSES[1]);
            let failed = match self.request(&path).call() {
                Ok(mut response) if !is_away(response.status()) => {
                    away = None;
                    self.accept(&mut response)?;
                    job = self.read(&mut response)?;
                    continue;
                }
                Ok(response) => self.failed(&format!("it answers with {}", response.status())),
                Err(error) => self.failed(&error),
            };
            match away {
                None => {
                    tracing::warn!("{failed}; it is asked again");
                    away = Some(Instant::now());
                }
                Some(since) if since.elapsed() < PATIENCE => {}
                Some(_) => {
                    let said = format!("{failed}; it has accepted {name} as {}", job.id);
                    return Err(Error::Service(said));
                }
            }
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
        for note in &report.notes {
            tracing::warn!("{note}");
        }
        let page = if self.html {
            Some(self.page(&format!("{path}/report.html"))?)
        } else {
            None
        };
        Ok(Some(Run::told(name.to_owned(), report, page)))
    }

    /// Sends a file until it is accepted: a full queue is waited for, and so is a service that has said that it ends. None if the listener
    /// interrupts.
    fn ask(&self, name: &str, listener: &dyn Listener) -> Result<Option<Job>> {
        io::format(Path::new(name))?;
        let started = Instant::now();
        let mut is_told_later = false;
        loop {
            let (refused, pause) = match self.send(name) {
                Ok(mut response) if response.status().as_u16() < 400 => {
                    return self.read(&mut response).map(Some);
                }
                Ok(mut response) => {
                    let later = response.headers().get("retry-after");
                    let later = later.and_then(|value| value.to_str().ok()?.parse().ok());
                    let refused = self.refusal(&mut response);
                    match later {
                        Some(seconds) => (refused, Duration::from_secs(seconds)),
                        None => return Err(refused),
                    }
                }
                // It has gone, as it said, and may be on its way back.
                Err(error @ Error::Service(_)) if is_told_later => (error, PAUSES[1]),
                Err(error) => return Err(error),
            };
            if started.elapsed() > PATIENCE {
                return Err(refused);
            }
            if !std::mem::replace(&mut is_told_later, true) {
                tracing::warn!(
                    "{}: {refused}; it is asked again for {} s",
                    self.url,
                    PATIENCE.as_secs()
                );
            }
            let again = Instant::now() + pause;
            while Instant::now() < again {
                if listener.is_interrupted() {
                    return Ok(None);
                }
                std::thread::sleep(PAUSES[0]);
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn send(&self, name: &str) -> Result<Response<Body>> {
        let file = io::open_regular(Path::new(name))?;
        let request = self
            .with_token(self.agent.post(self.url("/v1/checks")))
            .header("content-type", "application/octet-stream")
            // What is refused by its head alone is not sent at all.
            .header("expect", "100-continue")
            .query("wait", WAIT.to_string())
            .query("name", end_of(name))
            .query_pairs(
                self.settings
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            );
        request.send(file).map_err(|error| self.failed(&error))
    }

    fn request(&self, path: &str) -> ureq::RequestBuilder<WithoutBody> {
        self.with_token(self.agent.get(self.url(path)))
    }

    /// # Errors
    /// What the service says where it does not do what it was asked.
    fn accept(&self, response: &mut Response<Body>) -> Result<()> {
        match response.status().as_u16() {
            400.. => Err(self.refusal(response)),
            _ => Ok(()),
        }
    }

    fn page(&self, path: &str) -> Result<String> {
        // It may have to be drawn, behind a check that takes long.
        let request = self.request(path).config().timeout_recv_response(None);
        let answered = request.build().call();
        let mut response = answered.map_err(|error| self.failed(&error))?;
        self.accept(&mut response)?;
        self.text(&mut response)
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
        match self.read::<ProblemDetails>(response) {
            // It is the address that is wrong.
            Ok(problem) if status == StatusCode::NOT_FOUND => self.failed(&problem.detail),
            Ok(problem) => Error::Service(problem.detail),
            Err(_) => self.failed(&format!(
                "it answers with {status}, and not as gradprobe does"
            )),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        let said = error.to_string();
        let tip = if self.url.starts_with("https:") {
            "; gradprobe serve itself speaks http, and https is for what stands before it"
        } else if said.contains("Connection refused") {
            "; is gradprobe serve running there?"
        } else {
            ""
        };
        Error::Service(format!("{} cannot be asked: {said}{tip}", self.url))
    }
}

/// Whether a proxy says that the service behind it is not there.
fn is_away(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// What a service can keep of a name: its end tells most.
fn end_of(name: &str) -> &str {
    let surplus = name.chars().count().saturating_sub(LONGEST_NAME);
    let start = name.char_indices().nth(surplus);
    start.map_or("", |(start, _)| &name[start..])
}
