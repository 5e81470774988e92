//! `gradprobe check --server`: a service checks, and its report is delivered as if made here.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use ureq::http::Uri;

use super::token::token;
use crate::{
    check::Listener,
    error::{Error, Result},
    io,
    output::Run,
    report::SCHEMA,
};

mod service;

use service::{Job, Progress, Refusal, Service};

/// The heading of these flags in the help.
const HEADING: &str = "Service";

#[derive(Args)]
pub(super) struct RemoteArguments {
    /// Let the service (gradprobe serve) at this address run the check
    ///
    /// Not with --device, --memory, --numeric, --save-failures or .npy files.
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "URL",
        value_parser = address,
        conflicts_with_all = ["input", "numeric", "save_failures", "device", "memory"]
    )]
    pub(super) server: Option<String>,
    /// File whose first line is the service's token
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The time to wait for a full queue or an absent service. A restart takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// The shortest and the longest pause between two requests. The pause doubles each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Parses an address to which paths can be appended.
fn address(text: &str) -> std::result::Result<String, &'static str> {
    let uri: std::result::Result<Uri, _> = text.parse();
    let is_address = uri.is_ok_and(|uri| {
        let scheme = uri.scheme_str().unwrap_or_default();
        ["http", "https"].contains(&scheme) && uri.host().is_some() && uri.query().is_none()
    });
    if is_address {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("expected an address, such as http://127.0.0.1:8417")
    }
}

/// Lets a service check a file, by settings with the names of flags. `token` is the file that holds
/// its token. Fetches the report's HTML page too if `html` is set. Returns `None`, and cancels the
/// job, if the listener interrupts.
///
/// # Errors
/// [`Error::Usage`] if `server` is no address or the token is unusable, [`Error::Io`] if a file
/// cannot be read, [`Error::Service`] if the service refuses the file or cannot be reached.
pub fn check_by_service(
    server: &str,
    token: Option<&Path>,
    settings: Vec<(String, String)>,
    html: bool,
    file: &Path,
    listener: &dyn Listener,
) -> Result<Option<Run>> {
    let server = address(server);
    let server = server.map_err(|expected| Error::Usage(format!("--server: {expected}")))?;
    let token = token.map(self::token).transpose()?;
    let service = Service::new(server, token, PATIENCE);
    let remote = Remote {
        service,
        settings,
        html,
    };
    remote.check(&file.to_string_lossy(), listener, &mut |_, _| {})
}

/// A service, and the settings of the checks that it is to run.
pub(super) struct Remote {
    service: Service,
    /// Names and values.
    settings: Vec<(String, String)>,
    /// True if the report's HTML page is to be fetched.
    html: bool,
}

impl Remote {
    /// Returns `None` without `--server`.
    ///
    /// # Errors
    /// [`Error::Usage`] for `--token-file` without `--server`, and those of reading the token.
    pub(super) fn new(
        arguments: &RemoteArguments,
        settings: Vec<(String, String)>,
        html: bool,
    ) -> Result<Option<Self>> {
        let Some(server) = &arguments.server else {
            // clap cannot require the address, which may be in gradprobe.toml.
            return match arguments.token_file {
                Some(_) => Err(Error::Usage("--token-file needs --server".to_owned())),
                None => Ok(None),
            };
        };
        let token = arguments.token_file.as_deref().map(token).transpose()?;
        Ok(Some(Self {
            service: Service::new(server.clone(), token, PATIENCE),
            settings,
            html,
        }))
    }

    /// Sends a file and waits for its report. `follow` is called with the entries done and the
    /// entries in all. Returns `None`, and cancels the job, if the listener interrupts.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Service`] if the service refuses it or
    /// cannot be reached.
    pub(super) fn check(
        &self,
        name: &str,
        listener: &dyn Listener,
        follow: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Run>> {
        let Some(job) = self.submit(name, listener)? else {
            return Ok(None);
        };
        tracing::info!("{} accepted {name} as job {}", self.service.url, job.id);
        let Some(job) = self.wait(name, job, listener, follow)? else {
            return Ok(None);
        };
        self.collect(name, job).map(Some)
    }

    /// Sends a file until it is accepted. Retries if the queue is full, or if the service is about
    /// to restart. Returns `None` if the listener interrupts.
    fn submit(&self, name: &str, listener: &dyn Listener) -> Result<Option<Job>> {
        io::format(Path::new(name))?;
        let started = Instant::now();
        let mut is_announced = false;
        loop {
            let (error, pause) = match self.service.submit(name, &self.settings) {
                Ok(job) => return Ok(Some(job)),
                Err(Refusal::Later(error, pause)) => (error, pause),
                // The service announced a restart, and is down meanwhile.
                Err(Refusal::Away(error)) if is_announced => (error, PAUSES[1]),
                Err(Refusal::Away(error) | Refusal::Final(error)) => return Err(error),
            };
            if started.elapsed() > PATIENCE {
                return Err(error);
            }
            if !std::mem::replace(&mut is_announced, true) {
                let (url, seconds) = (&self.service.url, PATIENCE.as_secs());
                tracing::warn!("{url}: {error}; retrying for {seconds} s");
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

    /// Polls a job until it has ended. The service may restart meanwhile: its jobs outlive that.
    /// Returns `None` if the listener interrupts.
    fn wait(
        &self,
        name: &str,
        mut job: Job,
        listener: &dyn Listener,
        follow: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Job>> {
        let mut pause = PAUSES[0];
        let mut away_since: Option<Instant> = None;
        while ["queued", "running"].contains(&job.state.as_str()) {
            if listener.is_interrupted() {
                self.cancel(name, &job);
                return Ok(None);
            }
            if let Some(Progress { done, total }) = job.progress {
                follow(done, total);
            }
            tracing::debug!("{name} is {}", job.state);
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSES[1]);
            match self.service.job(&job.id) {
                Ok(polled) => {
                    away_since = None;
                    job = polled;
                }
                Err(Refusal::Later(error, _) | Refusal::Final(error)) => return Err(error),
                Err(Refusal::Away(error)) => match away_since {
                    None => {
                        tracing::warn!("{error}; retrying");
                        away_since = Some(Instant::now());
                    }
                    Some(since) if since.elapsed() < PATIENCE => {}
                    Some(_) => {
                        let id = &job.id;
                        let reason = format!("{error}; it had accepted {name} as job {id}");
                        return Err(Error::Service(reason));
                    }
                },
            }
        }
        Ok(Some(job))
    }

    fn cancel(&self, name: &str, job: &Job) {
        let url = &self.service.url;
        match self.service.cancel(&job.id) {
            Ok(()) => tracing::warn!("interrupted: asked {url} to cancel {name}"),
            Err(error) => tracing::warn!(
                "interrupted: could not cancel job {}, so {url} may still check {name}: {error}",
                job.id
            ),
        }
    }

    /// Returns the report of a job that has ended.
    fn collect(&self, name: &str, job: Job) -> Result<Run> {
        let Some(report) = job.report else {
            let reason = job.error.unwrap_or_else(|| format!("it was {}", job.state));
            return Err(Error::Service(reason));
        };
        if report.schema != SCHEMA {
            return Err(Error::Service(format!(
                "{} reports in schema {}, but this version of gradprobe reads {SCHEMA}",
                self.service.url, report.schema
            )));
        }
        for note in &report.notes {
            tracing::warn!("{note}");
        }
        let page = if self.html {
            Some(self.service.page(&job.id)?)
        } else {
            None
        };
        Ok(Run::received(name.to_owned(), report, page))
    }
}
