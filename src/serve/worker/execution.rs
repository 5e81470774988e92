//! One execution of a job: its time, its progress, and the moments at which shorter jobs overtake.

use std::time::{Duration, Instant};

use crate::{
    check::Listener,
    problem::Wrt,
    serve::{
        job::{Job, Progress},
        queue::JobHandle,
        service::Service,
    },
};

/// Pause between two reports of progress. Chosen.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Largest cost of a job that overtakes, as a share of the cost of this one. Chosen.
const MUCH_SHORTER: f64 = 0.1;

/// Runs the first queued task that costs at most the given multiply-adds. Returns false if there is
/// none.
pub(super) type Overtake<'a> = &'a dyn Fn(f64) -> bool;

/// One execution of a job, a check or the check behind a page.
pub(super) struct Execution<'a> {
    service: &'a Service,
    /// Handle that receives the progress. A page has none.
    handle: Option<&'a JobHandle>,
    overtake: Overtake<'a>,
    /// Multiply-adds of the job.
    work: f64,
    /// False for a job that may crash the process, because no other job must run beside it.
    yields: bool,
    started: Instant,
    /// Time spent on the jobs that overtook this one.
    overtaken: Duration,
    /// Time of the last report of progress.
    reported: Instant,
    /// Entries of the gradients before the current one.
    before: u64,
    /// Entries of the current gradient.
    current: u64,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        service: &'a Service,
        job: &Job,
        handle: Option<&'a JobHandle>,
        overtake: Overtake<'a>,
    ) -> Self {
        Self {
            service,
            handle,
            overtake,
            work: job.cost.work,
            yields: !job.is_suspect(),
            started: Instant::now(),
            overtaken: Duration::ZERO,
            reported: Instant::now(),
            before: 0,
            current: 0,
        }
    }

    /// Returns the time since the start, including the jobs that overtook.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the time spent on this job alone.
    pub(super) fn spent(&self) -> Duration {
        self.elapsed().saturating_sub(self.overtaken)
    }

    /// Returns true if the job has used up its time.
    pub(super) fn is_too_long(&self) -> bool {
        self.spent() > self.service.options.limits.check
    }

    /// Sets the progress to zero, before the check is repeated on another device.
    pub(super) fn restart(&mut self) {
        (self.before, self.current) = (0, 0);
    }

    /// Runs queued jobs that cost at most 10 % of this one, which yield in turn. At least half of
    /// the time stays with this job.
    pub(super) fn yield_to_shorter(&mut self) {
        let (own, began) = (self.spent(), Instant::now());
        while self.yields
            && self.overtaken + began.elapsed() <= own
            && (self.overtake)(MUCH_SHORTER * self.work)
        {}
        self.overtaken += began.elapsed();
    }

    /// Reports `done` entries of the current gradient, at most once per interval.
    fn report(&mut self, done: u64) {
        if let Some(handle) = self.handle
            && self.reported.elapsed() > PROGRESS_INTERVAL
        {
            self.reported = Instant::now();
            let progress = Progress {
                done: self.before + done,
                total: self.before + self.current,
                rate: (self.before + done) as f64 / self.spent().as_secs_f64().max(1e-9),
            };
            handle.update(|view| view.progress = Some(progress));
        }
    }
}

impl Listener for Execution<'_> {
    fn begin(&mut self, _wrt: Wrt, entries: u64, _bytes: u64) {
        self.before += self.current;
        self.current = entries;
    }

    fn progress(&mut self, done: u64, all: u64) {
        // After the last entry of a right gradient, the report follows at once.
        if done < all {
            self.report(done);
            self.yield_to_shorter();
        }
    }

    fn diagnosing(&mut self) {
        self.report(self.current);
        self.yield_to_shorter();
    }

    fn is_interrupted(&self) -> bool {
        self.service.is_aborted()
            || self.handle.is_some_and(JobHandle::is_cancelled)
            || self.is_too_long()
    }
}
