//! State that the HTTP handlers and the worker share.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytesize::ByteSize;
use tokio::sync::{Semaphore, watch};

use super::{
    job::{self, Job, Outcome},
    metrics::Metrics,
    options::Options,
    queue::Queue,
    refusal::Refusal,
    store::Store,
};
use crate::{
    case::Case,
    device::Device,
    error::{Error, Result},
    io::Source,
    report::DeviceInfo,
    settings::Settings,
};

/// Crashes after which a job is given up. The job itself may be the cause, for example by a fault
/// of a driver. Chosen: a handful of restarts for other reasons loses no job.
const MAX_CRASHES: usize = 5;

/// Quick bodies, and slow bodies, that are inspected at a time. Chosen: it bounds the memory for
/// unpacking.
const INSPECTIONS: usize = 2;

/// A service.
pub(super) struct Service {
    pub(super) options: Options,
    /// The device as it was first opened.
    pub(super) device: OnceLock<DeviceInfo>,
    pub(super) store: Store,
    pub(super) queue: Arc<Queue>,
    pub(super) metrics: Arc<Metrics>,
    /// Permits to receive a body.
    pub(super) uploads: Semaphore,
    /// Permits to inspect a body, which maps or unpacks it. Quick ones do not wait for slow ones.
    pub(super) quick_inspections: Arc<Semaphore>,
    pub(super) slow_inspections: Arc<Semaphore>,
    /// True once the service shuts down and accepts no more jobs.
    pub(super) shutdown: watch::Sender<bool>,
    /// True once the running check must stop.
    abort: AtomicBool,
}

impl Service {
    /// Opens the data folder.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub(super) fn new(options: Options) -> Result<Self> {
        Ok(Self {
            store: Store::open(&options.data)?,
            device: OnceLock::new(),
            queue: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            uploads: Semaphore::new(options.limits.uploads),
            quick_inspections: Arc::new(Semaphore::new(INSPECTIONS)),
            slow_inspections: Arc::new(Semaphore::new(INSPECTIONS)),
            shutdown: watch::Sender::new(false),
            abort: AtomicBool::new(false),
            options,
        })
    }

    /// Queues the jobs that an earlier process accepted and did not finish.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be read.
    pub(super) fn resume(&self) -> Result<()> {
        for job in self.store.queued()? {
            if job.crashes < MAX_CRASHES {
                self.queue.push(job);
                continue;
            }
            let reason = format!(
                "the service crashed {MAX_CRASHES} times during this check, so it is not retried"
            );
            tracing::error!("{}: {reason}", job.view.id);
            let outcome = Outcome::Failed(reason);
            let id = &job.view.id;
            if let Err(error) = self.store.finish_now(id, &outcome, job::now()) {
                // The next start retries it.
                tracing::error!("{error}");
            }
        }
        let waiting = self.queue.waiting();
        if waiting > 0 {
            tracing::info!("resuming {waiting} jobs that an earlier process accepted");
        }
        Ok(())
    }

    /// Opens the device.
    ///
    /// # Errors
    /// Those of [`Device::select`].
    pub(super) fn open_device(&self) -> Result<Device> {
        Device::select_within(&self.options.device, self.options.memory)
    }

    /// Reads and validates a body, and returns it with the bytes that its check takes. A packed
    /// body may unpack to at most the size limit of an unpacked one.
    ///
    /// # Errors
    /// Those of [`Settings::load`] and [`Case::validate`], and [`Error::Setting`] if the check
    /// takes more memory than the service has for one.
    pub(super) fn load(&self, settings: &Settings, body: &Source) -> Result<(Case, u64)> {
        let Options { memory, limits, .. } = &self.options;
        let case = settings.load(body, *memory, Some(limits.body))?;
        let options = settings.options(false);
        case.validate(&options)?;
        let needed = case.memory(&options);
        if needed <= limits.memory {
            return Ok((case, needed));
        }
        Err(Error::Setting {
            name: "the service's --max-memory",
            found: ByteSize::b(limits.memory).to_string(),
            expected: format!(
                "this check needs about {} besides its tensors",
                ByteSize::b(needed)
            ),
        })
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Closes the queue. From here on a kill of the process is not blamed on a job.
    pub(super) fn begin_shutdown(&self) {
        self.store.journal.forgive();
        self.shutdown.send_replace(true);
        self.queue.close();
    }

    /// Stops the running check.
    pub(super) fn abort(&self) {
        self.abort.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }

    /// Deletes ended jobs that are too old, or for which there is no room.
    pub(super) fn delete_expired(&self) {
        let oldest = job::now() - self.options.keep_for.as_secs_f64();
        match self.store.delete_expired(oldest, self.options.keep_bytes) {
            Ok(0) => {}
            Ok(count) => tracing::info!("deleted {count} old jobs"),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// Announces the end of a job to its watchers, the log and the metrics.
///
/// This is not a method, because the database's thread calls it and must not own the service:
/// dropping the service waits for that thread.
pub(super) fn announce_end(queue: &Queue, metrics: &Metrics, job: Job, outcome: Outcome, at: f64) {
    metrics.ended(&outcome);
    let view = job.view.ended(outcome, at);
    let detail = view.summary.as_deref().or(view.error.as_deref());
    tracing::info!(
        "{}: {} {}",
        view.id,
        view.verdict
            .map_or_else(|| view.state.name().to_owned(), |it| it.to_string()),
        detail.unwrap_or_default()
    );
    queue.finish(view);
}

/// Runs work that waits for a disk or a driver on a thread where it blocks no other request.
///
/// # Errors
/// Those of the work, and 500 if it panics.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Refusal> + Send + 'static,
) -> std::result::Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&error)),
    }
}
