//! The compute service: checks over HTTP, computed on one device, none of them lost.
//!
//! A body is received (`upload`), looked at, and kept as a job (`store`), in SQLite (`database`) and if it is long in a spool folder, before
//! its sender is told so. One thread computes (`worker`), from a queue (`queue`) that is filled anew from the store when the service
//! starts. Answers are given by the handlers of `api`; what they refuse, and why, is a `refusal`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use crate::{
    check,
    device::Device,
    error::{Error, Result},
    io::{Inputs, Source},
    report::DeviceInfo,
    settings::Settings,
};

mod api;
mod auth;
mod connections;
mod database;
mod events;
mod job;
mod metrics;
mod openapi;
mod page;
mod query;
mod queue;
mod refusal;
mod store;
mod under_way;
mod upload;
mod worker;

use metrics::Metrics;
use queue::Queue;
use refusal::Refusal;
use store::{Outcome, Store};

/// How a service is run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where jobs, reports and bodies are kept.
    pub data: PathBuf,
    /// The device, as for [`Device::select`].
    pub device: String,
    /// What is read, and computed on a GPU, at a time, in bytes.
    pub memory: u64,
    /// What a client has to present; none where everybody is served.
    pub token: Option<String>,
    /// Whether everybody may be served who reaches an address that is not this machine's own.
    pub insecure: bool,
    /// What a client may ask for.
    pub limits: Limits,
    /// How long ended jobs are kept.
    pub keep_for: Duration,
    /// The bytes that the bodies, reports and pages of all jobs may take; beyond them the oldest ended ones go.
    pub keep_bytes: u64,
    /// How long a check may go on when the service is asked to end.
    pub grace: Duration,
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a body.
    pub body: u64,
    /// Jobs whose turn is to come.
    pub queue: usize,
    /// Bodies that are received at a time.
    pub uploads: usize,
    /// Connections.
    pub connections: usize,
    /// Without a byte of a request for so long, or of an answer that is taken, it is given up.
    pub idle: Duration,
    /// Time that a check may take.
    pub check: Duration,
    /// Bytes that the checks under way may take together, by [`check::memory`].
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 30,
            queue: 10_000,
            uploads: 64,
            connections: 1024,
            idle: Duration::from_secs(10),
            check: Duration::from_secs(3600),
            memory: 8 << 30,
        }
    }
}

/// What the handlers and the worker share.
struct Service {
    options: Options,
    /// As it was opened first.
    device: OnceLock<DeviceInfo>,
    store: Store,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// Bodies that are being received.
    uploads: Semaphore,
    /// Bodies that are being looked at, which maps or unpacks them: those that soon are, and others.
    looks: [Arc<Semaphore>; 2],
    /// Whether the service is to end: then it takes no more jobs.
    ending: watch::Sender<bool>,
    /// Whether the check that runs is to be broken off.
    abort: AtomicBool,
}

/// A check that was begun so often, each time to the end of the process, is not begun again: it may be the cause, by a fault of a driver, say.
const MOST_STARTS: usize = 5;
/// How many bodies of either kind are looked at at a time.
const LOOKS: usize = 2;

/// Runs a service until the process is asked to end. `started` is told where it listens, and on which device it computes.
///
/// # Errors
/// [`Error::Usage`] for an address that is not this machine's own where nobody has to present a token, [`Error::Io`] if the folder or
/// the address cannot be had, and those of [`Device::select`].
pub(crate) fn serve(options: Options, started: impl FnOnce(SocketAddr, &DeviceInfo)) -> Result<()> {
    if !options.listen.ip().is_loopback() && options.token.is_none() && !options.insecure {
        return Err(Error::Usage(format!(
            "{} can be reached from other machines: give --token-file, or --insecure to serve whoever reaches it",
            options.listen
        )));
    }
    let service = Arc::new(Service::new(options)?);
    for ticket in service.store.queued()? {
        if ticket.starts < MOST_STARTS {
            service.queue.push(ticket);
            continue;
        }
        let said = format!(
            "{MOST_STARTS} times the service ended without a word while it was checked, and it is not begun again"
        );
        tracing::error!("{}: {said}", ticket.job.id);
        let outcome = Outcome::Failed(said);
        let kept = service
            .store
            .finish_now(&ticket.job.id, &outcome, job::now());
        if let Err(error) = kept {
            // The next service tries it again.
            tracing::error!("{error}");
        }
    }
    let waiting = service.queue.waiting();
    if waiting > 0 {
        tracing::info!("{waiting} jobs were accepted before and are checked now");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", "the runtime"))?;
    runtime.block_on(connections::run(service, started))
}

impl Service {
    fn new(options: Options) -> Result<Self> {
        Ok(Self {
            store: Store::open(&options.data)?,
            device: OnceLock::new(),
            queue: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            uploads: Semaphore::new(options.limits.uploads),
            looks: [LOOKS; 2].map(|looks| Arc::new(Semaphore::new(looks))),
            ending: watch::Sender::new(false),
            abort: AtomicBool::new(false),
            options,
        })
    }

    fn device(&self) -> Result<Device> {
        Device::select_within(&self.options.device, self.options.memory)
    }

    /// Reads a body, which may unpack to no more than one that is not packed; with the bytes that its check takes.
    ///
    /// # Errors
    /// Those of [`Settings::load`] and [`check::validate`], and [`Error::Setting`] where it would take too many.
    fn load(&self, settings: &Settings, body: &Source) -> Result<(Inputs, u64)> {
        let Options { memory, limits, .. } = &self.options;
        let case = settings.load(body, *memory, Some(limits.body))?;
        let options = settings.options(false);
        check::validate(&case.problem, &case.subjects, &options)?;
        let takes = check::memory(&case.problem, &case.subjects, &options);
        if takes <= limits.memory {
            Ok((case, takes))
        } else {
            Err(Error::Setting {
                name: "the service's --max-memory",
                found: bytesize::ByteSize::b(limits.memory).to_string(),
                expected: format!(
                    "this check takes about {} beside its tensors",
                    bytesize::ByteSize::b(takes)
                ),
            })
        }
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Says that the service is to end: whoever asked for that may end it without a word, too.
    fn end(&self) {
        self.store.under_way.excuse();
        self.ending.send_replace(true);
        self.queue.close();
    }

    fn abort(&self) {
        self.abort.store(true, Ordering::Relaxed);
    }

    /// Lets go of jobs that have been kept long enough, or for which there is no room.
    fn forget(&self) {
        let oldest = job::now() - self.options.keep_for.as_secs_f64();
        match self.store.forget(oldest, self.options.keep_bytes) {
            Ok(0) => {}
            Ok(count) => tracing::info!("{count} old jobs are forgotten"),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// An error in words that speak of a body by the name that its sender gave it.
fn in_words(error: &str, body: &Path, called: &str) -> String {
    error.replace(&body.display().to_string(), called)
}

/// Does what waits for a disk or a driver, where it keeps no request waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Refusal> + Send + 'static,
) -> std::result::Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&error)),
    }
}
