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

/// Multiply-adds up to which a job is done in a moment: a twentieth of a second on two cores, as measured in 2026, and its diagnosis.
const SMALL: f64 = 1e8;

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
    /// Jobs that need a moment.
    small: VecDeque<Ticket>,
    /// The others.
    large: VecDeque<Ticket>,
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
        match is_small(&ticket) {
            true => inner.small.push_back(ticket),
            false => inner.large.push_back(ticket),
        }
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
            if let Some(task) = inner.next(false) {
                return Some(task);
            }
            inner = self
                .ready
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What can be done in a moment, if there is such a thing.
    pub(super) fn next_small(&self) -> Option<Task> {
        let mut inner = self.inner();
        match inner.closed {
            true => None,
            false => inner.next(true),
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
        let inner = self.inner();
        inner.small.len() + inner.large.len()
    }

    /// Asks that a job be ended. True if its turn had not come: then it will not.
    pub(super) fn cancel(&self, id: &str) -> Option<bool> {
        let mut inner = self.inner();
        let live = inner.live.get(id)?.clone();
        live.cancelled.store(true, Ordering::Relaxed);
        let before = inner.small.len() + inner.large.len();
        inner.small.retain(|ticket| ticket.job.id != id);
        inner.large.retain(|ticket| ticket.job.id != id);
        Some(inner.small.len() + inner.large.len() < before)
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
        match is_small(&ticket) {
            true => inner.small.push_front(ticket),
            false => inner.large.push_front(ticket),
        }
    }
}

fn is_small(ticket: &Ticket) -> bool {
    ticket.work <= SMALL
}

impl Inner {
    /// Pages first, since somebody looks at the screen; then the job that came first, or the first that is small.
    fn next(&mut self, only_small: bool) -> Option<Task> {
        if let Some(request) = self.pages.pop_front() {
            return Some(Task::Page(request));
        }
        let number = |queue: &VecDeque<Ticket>| queue.front().map(|ticket| ticket.number);
        let large_is_first = match (number(&self.small), number(&self.large)) {
            (Some(small), Some(large)) => large < small,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let ticket = match large_is_first && !only_small {
            true => self.large.pop_front(),
            false => self.small.pop_front(),
        }?;
        let live = self.live.get(&ticket.job.id)?.clone();
        Some(Task::Check(ticket, live))
    }
}
