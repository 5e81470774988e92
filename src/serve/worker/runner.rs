//! The run of a job: reads the body, checks it, renders the page, and handles failures of the
//! device, the disk and the program.

use std::{
    cell::Cell,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    time::{Duration, UNIX_EPOCH},
};

use super::{device::OpenDevice, execution::Execution};
use crate::{
    case::Case,
    device::Device,
    error::{Error, Result},
    io::{self, Source},
    output::{Run, html},
    report::Report,
    serve::{job::Job, query, service::Service, store},
    settings::{Settings, command_line, flags},
};

/// Cost above which a processor renders the page together with the check: multiply-adds in all, and
/// per entry of the gradients. Rendering costs little then, and a later request for the page would
/// have to repeat a slow check. Chosen.
const PRERENDER_WORK: f64 = 1e9;
const PRERENDER_WORK_PER_ENTRY: f64 = 200.0;
/// Pause between two chances to overtake while a body is read. Chosen.
const READING: Duration = Duration::from_millis(5);

/// Runs the checks of jobs.
pub(super) struct Runner<'a> {
    service: &'a Service,
    device: OpenDevice<'a>,
    /// Bytes in use by the running jobs.
    memory: Cell<u64>,
}

/// The content of a body.
struct Loaded {
    settings: Settings,
    case: Case,
}

impl<'a> Runner<'a> {
    pub(super) fn new(service: &'a Service, device: Device) -> Self {
        Self {
            service,
            device: OpenDevice::new(service, device),
            memory: Cell::new(0),
        }
    }

    /// Returns the bytes that another job may take beside the running ones.
    pub(super) fn free_memory(&self) -> u64 {
        let limit = self.service.options.limits.memory;
        limit.saturating_sub(self.memory.get())
    }

    /// Runs the work of a job and counts its memory meanwhile. A panic ends only this job.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Service`] if it panics.
    pub(super) fn guarded<T>(&self, job: &Job, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.memory.get();
        self.memory.set(before + job.cost.memory);
        let done = catch_unwind(AssertUnwindSafe(work));
        self.memory.set(before);
        done.unwrap_or_else(|_| {
            // The panic may have left work on the device.
            self.device.reopen("gradprobe crashed");
            let reason = "gradprobe crashed during this check; please report the bug";
            Err(Error::Service(reason.to_owned()))
        })
    }

    /// Returns the report of a job. Renders its page, too, if a later rendering would be slow.
    ///
    /// # Errors
    /// Those of reading and checking the body.
    pub(super) fn report(&self, job: &Job, execution: &mut Execution<'_>) -> Result<Report> {
        let loaded = self.load(job, execution)?;
        let prerenders = self.prerenders(job, &loaded.case);
        let report = self.check(job, &loaded, prerenders, execution)?;
        if prerenders
            && !report.interrupted
            && let Err(error) = self.render(job, &loaded, report.clone())
        {
            // The first request for the page renders it.
            tracing::warn!("{error}");
        }
        Ok(report)
    }

    /// Returns the page of a job. If none is kept, the check runs again: the same tensors on the
    /// same device give the same report. Returns `None` if the check is interrupted.
    ///
    /// # Errors
    /// Those of reading and checking the body.
    pub(super) fn page(&self, job: &Job, execution: &mut Execution<'_>) -> Result<Option<String>> {
        // An earlier request may have rendered it.
        if let Ok(text) = fs::read_to_string(store::page(&job.body)) {
            return Ok(Some(text));
        }
        let loaded = self.load(job, execution)?;
        let report = self.check(job, &loaded, true, execution)?;
        if report.interrupted {
            return Ok(None);
        }
        self.render(job, &loaded, report).map(Some)
    }

    fn prerenders(&self, job: &Job, case: &Case) -> bool {
        let threshold = PRERENDER_WORK.max(PRERENDER_WORK_PER_ENTRY * case.entries() as f64);
        self.device.is_slow() && job.cost.work >= threshold
    }

    /// Renders a report as a page, and keeps the page.
    fn render(&self, job: &Job, loaded: &Loaded, report: Report) -> Result<String> {
        let Loaded { settings, case } = loaded;
        let sweeps = case.sweeps(&settings.options(true), &report)?;
        let run = Run::new(job.display_name(), report, sweeps);
        let created = Duration::try_from_secs_f64(job.view.created).unwrap_or_default();
        let text = html::render(&[run.at(UNIX_EPOCH + created)]);
        if let Err(error) = self.service.store.keep_page(job, &text) {
            // The next request for the page renders it again.
            tracing::warn!("{error}");
        }
        Ok(text)
    }

    /// Reads the body of a job. Lets shorter jobs overtake if reading may take long.
    fn load(&self, job: &Job, execution: &mut Execution<'_>) -> Result<Loaded> {
        let settings = Settings::parse(&query::pairs(&job.query))?;
        let body = self.service.store.source(job)?;
        let load = || self.service.load(&settings, &body);
        let is_quick = matches!(body, Source::Bytes(..)) && !io::is_packed(&body);
        let (case, _) = if is_quick {
            load()?
        } else {
            in_background(load, || execution.yield_to_shorter())?
        };
        Ok(Loaded { settings, case })
    }

    /// Checks a body. If the device fails, repeats the check on the reopened device, and if that
    /// fails, too, on the CPU, with a note in the report.
    fn check(
        &self,
        job: &Job,
        loaded: &Loaded,
        draws: bool,
        execution: &mut Execution<'_>,
    ) -> Result<Report> {
        let options = loaded.settings.options(draws);
        let mut once = |device: &Device| {
            execution.restart();
            loaded.case.check(&options, device, execution)
        };
        let device = self.device.current();
        let mut report = match once(&device) {
            Err(Error::Gpu { reason, .. }) => {
                tracing::warn!("{} failed ({reason}); reopening it", device.info().name);
                self.service.metrics.lost();
                match once(&self.device.reopen(&reason)) {
                    Err(Error::Gpu { device, reason }) => {
                        let note = Some(format!("{device} failed twice: {reason}"));
                        once(&Device::Cpu { note })?
                    }
                    other => other?,
                }
            }
            other => other?,
        };
        report.command = repeat_command(job);
        Ok(report)
    }
}

/// Runs `work` on another thread, and calls `meanwhile` repeatedly until it has ended.
fn in_background<T: Send>(
    work: impl FnOnce() -> Result<T> + Send,
    mut meanwhile: impl FnMut(),
) -> Result<T> {
    std::thread::scope(|scope| {
        let (send, done) = mpsc::channel();
        scope.spawn(move || {
            // The receiver outlives this thread.
            let _ = send.send(work());
        });
        loop {
            match done.recv_timeout(READING) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Timeout) => meanwhile(),
                // The scope passes the panic of the thread on.
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::Service("the body could not be read".to_owned()));
                }
            }
        }
    })
}

/// Returns the command that repeats the check of a file. Returns `None` if the client gave no name.
fn repeat_command(job: &Job) -> Option<String> {
    let name = job.view.name.clone()?;
    let pairs = query::pairs(&job.query);
    let words = ["check".to_owned(), name].into_iter().chain(flags(&pairs));
    Some(command_line(words))
}
