//! Jobs whose turn is to come or is now, and who waits for them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{oneshot, watch};

use super::{
    job::{Job, State},
    refusal::Refusal,
    store::Ticket,
};

/// A job that has not ended.
pub(super) struct Live {
    job: watch::Sender<Job>,
    cancelled: AtomicBool,
}

impl Live {
    /// Changes what those who watch it see.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Job)) {
        self.job.send_modify(change);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Job> {
        self.job.subscribe()
    }

    pub(super) fn job(&self) -> Job {
        self.job.borrow().clone()
    }
}

/// A page that somebody waits for.
pub(super) struct PageRequest {
    pub(super) ticket: Ticket,
    pub(super) answer: oneshot::Sender<Result<String, Refusal>>,
}

/// What the worker is to do.
pub(super) enum Task {
    Check(Ticket, Arc<Live>),
    Page(PageRequest),
}

#[derive(Default)]
struct Inner {
    pages: VecDeque<PageRequest>,
    /// In the order of their coming.
    jobs: VecDeque<Ticket>,
    live: HashMap<String, Arc<Live>>,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step: a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end.
    pub(super) fn push(&self, ticket: Ticket) -> Arc<Live> {
        let live = Arc::new(Live {
            job: watch::Sender::new(ticket.job.clone()),
            cancelled: AtomicBool::new(false),
        });
        let mut inner = self.inner();
        inner.live.insert(ticket.job.id.clone(), live.clone());
        inner.jobs.push_back(ticket);
        drop(inner);
        self.ready.notify_one();
        live
    }

    /// Asks for a page.
    pub(super) fn push_page(&self, request: PageRequest) {
        self.inner().pages.push_back(request);
        self.ready.notify_one();
    }

    /// What is next, as soon as there is something; none once the queue is closed.
    pub(super) fn next(&self) -> Option<Task> {
        let mut inner = self.inner();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(task) = inner.next(f64::INFINITY) {
                return Some(task);
            }
            inner = self
                .ready
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is next of all that takes so many multiply-adds at most, if there is such a thing.
    pub(super) fn next_within(&self, work: f64) -> Option<Task> {
        let mut inner = self.inner();
        match inner.closed {
            true => None,
            false => inner.next(work),
        }
    }

    /// From here on there is nothing next.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.ready.notify_all();
    }

    pub(super) fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.inner().live.get(id).cloned()
    }

    /// How many jobs wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.inner().jobs.len()
    }

    /// Asks that a job be ended. True if its turn had not come: then it will not.
    pub(super) fn cancel(&self, id: &str) -> Option<bool> {
        let mut inner = self.inner();
        let live = inner.live.get(id)?.clone();
        live.cancelled.store(true, Ordering::Relaxed);
        let before = inner.jobs.len();
        inner.jobs.retain(|ticket| ticket.job.id != id);
        Some(inner.jobs.len() < before)
    }

    /// A job has ended: those who watch it see `job`, and it is known to the store alone.
    pub(super) fn end(&self, job: Job) {
        let live = self.inner().live.remove(&job.id);
        if let Some(live) = live {
            live.tell(|told| *told = job);
        }
    }

    /// Puts back a job whose turn has been broken off.
    pub(super) fn put_back(&self, ticket: Ticket) {
        let mut inner = self.inner();
        if let Some(live) = inner.live.get(&ticket.job.id) {
            live.tell(|job| {
                job.state = State::Queued;
                job.progress = None;
            });
        }
        inner.jobs.push_front(ticket);
    }
}

impl Inner {
    /// Pages first, since somebody looks at the screen; then the jobs as they came. Of either what takes no more than `work`.
    fn next(&mut self, work: f64) -> Option<Task> {
        let page = self.pages.iter().position(|it| it.ticket.work <= work);
        if let Some(request) = page.and_then(|place| self.pages.remove(place)) {
            return Some(Task::Page(request));
        }
        let job = self.jobs.iter().position(|it| it.work <= work)?;
        let ticket = self.jobs.remove(job)?;
        let live = self.live.get(&ticket.job.id)?.clone();
        Some(Task::Check(ticket, live))
    }
}
