//! The queue in front of the worker: queued jobs, requested pages, and the handles of all jobs that
//! have not ended.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{oneshot, watch};

use super::{
    job::{Cost, Job, JobView, Outcome, State},
    refusal::Refusal,
};

/// A handle to a job that has not ended.
pub(super) struct JobHandle {
    view: watch::Sender<JobView>,
    cancelled: AtomicBool,
}

impl JobHandle {
    /// Changes the job, and notifies its watchers.
    pub(super) fn update(&self, change: impl FnOnce(&mut JobView)) {
        self.view.send_modify(change);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn watch(&self) -> watch::Receiver<JobView> {
        self.view.subscribe()
    }

    pub(super) fn view(&self) -> JobView {
        self.view.borrow().clone()
    }
}

/// A request for the page of a report.
pub(super) struct PageRequest {
    pub(super) job: Job,
    pub(super) answer: oneshot::Sender<Result<String, Refusal>>,
}

/// Work for the worker.
pub(super) enum Task {
    Check(Job, Arc<JobHandle>),
    Page(PageRequest),
    /// Another attempt to save the outcome of a job. The number is the time of the end.
    Save(Job, Outcome, f64),
}

#[derive(Default)]
struct Inner {
    saves: VecDeque<(Job, Outcome, f64)>,
    pages: VecDeque<PageRequest>,
    /// Queued jobs, the oldest first.
    jobs: VecDeque<Job>,
    /// Handles by the id of the job.
    handles: HashMap<String, Arc<JobHandle>>,
    /// Slots that are reserved for jobs whose bodies are being received.
    reserved: usize,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
}

/// A place in the queue, reserved for a job whose body is being received.
pub(super) struct Slot {
    queue: Arc<Queue>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.inner().reserved -= 1;
    }
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step: a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a slot. Returns `None` if `limit` jobs are queued or being received.
    pub(super) fn reserve(self: &Arc<Self>, limit: usize) -> Option<Slot> {
        let mut inner = self.inner();
        if inner.jobs.len() + inner.reserved >= limit {
            return None;
        }
        inner.reserved += 1;
        Some(Slot {
            queue: self.clone(),
        })
    }

    /// Appends a job.
    pub(super) fn push(&self, job: Job) -> Arc<JobHandle> {
        let handle = Arc::new(JobHandle {
            view: watch::Sender::new(job.view.clone()),
            cancelled: AtomicBool::new(false),
        });
        let mut inner = self.inner();
        inner.handles.insert(job.view.id.clone(), handle.clone());
        inner.jobs.push_back(job);
        drop(inner);
        self.ready.notify_one();
        handle
    }

    /// Appends a request for a page. A closed queue drops it, and the waiting client gets 503.
    pub(super) fn push_page(&self, request: PageRequest) {
        let mut inner = self.inner();
        if !inner.closed {
            inner.pages.push_back(request);
            self.ready.notify_one();
        }
    }

    /// Appends an outcome that could not be saved.
    pub(super) fn push_save(&self, job: Job, outcome: Outcome, at: f64) {
        self.inner().saves.push_back((job, outcome, at));
        self.ready.notify_one();
    }

    /// Waits for a task and removes it. Returns `None` once the queue is closed.
    pub(super) fn next(&self) -> Option<Task> {
        let mut inner = self.inner();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(task) = inner.next(None) {
                return Some(task);
            }
            inner = self
                .ready
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes the first task that costs at most `limit`. Returns `None` if there is none now.
    pub(super) fn next_within(&self, limit: Cost) -> Option<Task> {
        let mut inner = self.inner();
        if inner.closed {
            None
        } else {
            inner.next(Some(limit))
        }
    }

    /// Closes the queue: [`next`](Self::next) returns `None` from now on.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.pages.clear();
        self.ready.notify_all();
    }

    /// Returns the handle of a job. Returns `None` if there is no such job or it has ended.
    pub(super) fn handle(&self, id: &str) -> Option<Arc<JobHandle>> {
        self.inner().handles.get(id).cloned()
    }

    /// Returns the number of queued jobs.
    pub(super) fn waiting(&self) -> usize {
        self.inner().jobs.len()
    }

    /// Cancels a job and returns its handle, and the job itself if it was queued. Returns `None` if
    /// there is no such job or it has ended.
    pub(super) fn cancel(&self, id: &str) -> Option<(Arc<JobHandle>, Option<Job>)> {
        let mut inner = self.inner();
        let handle = inner.handles.get(id)?.clone();
        handle.cancelled.store(true, Ordering::Relaxed);
        let place = inner.jobs.iter().position(|job| job.view.id == id);
        let queued = place.and_then(|place| inner.jobs.remove(place));
        Some((handle, queued))
    }

    /// Ends a job: its watchers see `view` and the queue drops its handle.
    pub(super) fn finish(&self, view: JobView) {
        let handle = self.inner().handles.remove(&view.id);
        if let Some(handle) = handle {
            handle.update(|current| *current = view);
        }
    }

    /// Requeues an interrupted job at the front.
    pub(super) fn requeue(&self, job: Job) {
        let mut inner = self.inner();
        if let Some(handle) = inner.handles.get(&job.view.id) {
            handle.update(|view| {
                view.state = State::Queued;
                view.progress = None;
            });
        }
        inner.jobs.push_front(job);
        self.ready.notify_one();
    }
}

impl Inner {
    /// Removes the next task: first an outcome to save, then a page, because a user is waiting for
    /// it, then the jobs in order.
    ///
    /// With a `limit` the task runs in the middle of a check. Then it may cost at most the limit,
    /// and a suspect job is skipped: its crash would count against that check, too.
    fn next(&mut self, limit: Option<Cost>) -> Option<Task> {
        let may_run =
            |job: &Job| limit.is_none_or(|limit| job.cost.is_within(limit) && !job.is_suspect());
        if let Some((job, outcome, at)) = self.saves.pop_front() {
            return Some(Task::Save(job, outcome, at));
        }
        let page = self.pages.iter().position(|it| may_run(&it.job));
        if let Some(request) = page.and_then(|place| self.pages.remove(place)) {
            return Some(Task::Page(request));
        }
        let place = self.jobs.iter().position(may_run)?;
        let job = self.jobs.remove(place)?;
        let handle = self.handles.get(&job.view.id)?.clone();
        Some(Task::Check(job, handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(work: f64) -> Cost {
        Cost { work, memory: 1 }
    }

    fn job(id: &str, work: f64) -> Job {
        Job {
            view: JobView::queued(id.to_owned(), None, 1),
            query: String::new(),
            body: "body.npz".into(),
            cost: cost(work),
            crashes: 0,
        }
    }

    fn request(work: f64) -> (PageRequest, oneshot::Receiver<Result<String, Refusal>>) {
        let (answer, rendered) = oneshot::channel();
        let job = job("seen", work);
        (PageRequest { job, answer }, rendered)
    }

    /// Returns the id of the job of a task, and true if the task is a page.
    fn described(task: Option<Task>) -> Option<(String, bool)> {
        task.map(|task| match task {
            Task::Check(job, _) => (job.view.id, false),
            Task::Page(request) => (request.job.view.id, true),
            Task::Save(..) => panic!("no job has ended"),
        })
    }

    #[test]
    fn pages_come_first_and_jobs_in_order_unless_they_cost_too_much() {
        let queue = Queue::default();
        for (id, work) in [("long", 100.0), ("short", 1.0), ("longer", 1000.0)] {
            queue.push(job(id, work));
        }
        let (request, _rendered) = request(50.0);
        queue.push_page(request);
        let is = |id: &str, is_page| Some((id.to_owned(), is_page));
        let no_memory = Cost {
            memory: 0,
            ..cost(10.0)
        };
        assert_eq!(described(queue.next_within(no_memory)), None);
        assert_eq!(described(queue.next_within(cost(10.0))), is("short", false));
        assert_eq!(described(queue.next_within(cost(10.0))), None);
        assert_eq!(described(queue.next()), is("seen", true));
        assert_eq!(described(queue.next()), is("long", false));
        queue.requeue(job("long", 100.0));
        assert_eq!(described(queue.next()), is("long", false));
        assert_eq!(queue.waiting(), 1);
    }

    #[test]
    fn a_slot_counts_like_a_job() {
        let queue = Arc::new(Queue::default());
        queue.push(job("first", 1.0));
        let slot = queue.reserve(2).unwrap();
        assert!(queue.reserve(2).is_none());
        drop(slot);
        assert!(queue.reserve(2).is_some());
    }

    #[test]
    fn a_suspect_job_runs_alone() {
        let queue = Queue::default();
        let mut suspect = job("suspect", 1.0);
        suspect.crashes = 2;
        queue.push(suspect);
        queue.push(job("other", 1.0));
        let other = Some(("other".to_owned(), false));
        assert_eq!(described(queue.next_within(cost(10.0))), other);
        assert_eq!(described(queue.next_within(cost(10.0))), None);
        assert_eq!(described(queue.next()).unwrap().0, "suspect");
    }

    #[test]
    fn cancels_a_queued_job_at_once_and_flags_a_running_one() {
        let queue = Queue::default();
        queue.push(job("first", 1.0));
        queue.push(job("second", 1.0));
        let Some(Task::Check(_, first)) = queue.next() else {
            panic!("no check")
        };
        assert!(queue.cancel("first").unwrap().1.is_none());
        assert!(first.is_cancelled());
        let (second, queued) = queue.cancel("second").unwrap();
        assert!(second.is_cancelled());
        assert_eq!(queued.unwrap().view.id, "second");
        assert!(queue.next_within(cost(10.0)).is_none());
        queue.finish(second.view());
        assert!(queue.cancel("second").is_none());
    }

    #[test]
    fn a_closed_queue_drops_page_requests() {
        let queue = Queue::default();
        let (before, mut rendered_before) = request(1.0);
        queue.push_page(before);
        queue.close();
        let (after, mut rendered_after) = request(1.0);
        queue.push_page(after);
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(rendered_before.try_recv().unwrap_err(), closed);
        assert_eq!(rendered_after.try_recv().unwrap_err(), closed);
        assert!(queue.next().is_none());
    }
}
