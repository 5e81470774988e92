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
    store::{Cost, Outcome, Ticket},
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
    /// To keep what came of a check, which could not be kept at once.
    End(Ticket, Outcome, f64),
}

#[derive(Default)]
struct Inner {
    ends: VecDeque<(Ticket, Outcome, f64)>,
    pages: VecDeque<PageRequest>,
    /// In the order of their coming.
    jobs: VecDeque<Ticket>,
    live: HashMap<String, Arc<Live>>,
    /// Places that are held for jobs on their way.
    held: usize,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
}

/// A place for a job on its way.
pub(super) struct Place {
    queue: Arc<Queue>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.inner().held -= 1;
    }
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one step: a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a place for a job on its way, if there are fewer than `most`.
    pub(super) fn hold(self: &Arc<Self>, most: usize) -> Option<Place> {
        let mut inner = self.inner();
        if inner.jobs.len() + inner.held >= most {
            return None;
        }
        inner.held += 1;
        Some(Place {
            queue: self.clone(),
        })
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

    /// Asks for a page; once the queue is closed nobody will draw it, which who waits is told at once.
    pub(super) fn push_page(&self, request: PageRequest) {
        let mut inner = self.inner();
        if !inner.closed {
            inner.pages.push_back(request);
            self.ready.notify_one();
        }
    }

    /// Asks for what came of a job to be kept.
    pub(super) fn push_end(&self, ticket: Ticket, outcome: Outcome, at: f64) {
        self.inner().ends.push_back((ticket, outcome, at));
        self.ready.notify_one();
    }

    /// What is next, as soon as there is something; none once the queue is closed.
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

    /// What is next of all that takes no more, if there is such a thing.
    pub(super) fn next_within(&self, most: Cost) -> Option<Task> {
        let mut inner = self.inner();
        if inner.closed {
            None
        } else {
            inner.next(Some(most))
        }
    }

    /// From here on there is nothing next.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.pages.clear();
        self.ready.notify_all();
    }

    pub(super) fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.inner().live.get(id).cloned()
    }

    /// How many jobs wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.inner().jobs.len()
    }

    /// Asks that a job be ended, if it has not. One whose turn had not come is taken out.
    pub(super) fn cancel(&self, id: &str) -> Option<(Arc<Live>, Option<Ticket>)> {
        let mut inner = self.inner();
        let live = inner.live.get(id)?.clone();
        live.cancelled.store(true, Ordering::Relaxed);
        let place = inner.jobs.iter().position(|ticket| ticket.job.id == id);
        let waiting = place.and_then(|place| inner.jobs.remove(place));
        Some((live, waiting))
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
        self.ready.notify_one();
    }
}

impl Inner {
    /// What is done first, then pages, since somebody looks at the screen; then the jobs as they came. In the middle of another check only
    /// what takes no more than `most`, and nothing that may have ended a process: it might take that check along once more.
    fn next(&mut self, most: Option<Cost>) -> Option<Task> {
        let is_next = |ticket: &Ticket| {
            most.is_none_or(|most| ticket.cost.is_within(most) && !ticket.is_suspect())
        };
        if let Some((ticket, outcome, at)) = self.ends.pop_front() {
            return Some(Task::End(ticket, outcome, at));
        }
        let page = self.pages.iter().position(|it| is_next(&it.ticket));
        if let Some(request) = page.and_then(|place| self.pages.remove(place)) {
            return Some(Task::Page(request));
        }
        let job = self.jobs.iter().position(is_next)?;
        let ticket = self.jobs.remove(job)?;
        let live = self.live.get(&ticket.job.id)?.clone();
        Some(Task::Check(ticket, live))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(work: f64) -> Cost {
        Cost { work, memory: 1 }
    }

    fn ticket(id: &str, work: f64) -> Ticket {
        Ticket {
            job: Job::queued(id.to_owned(), None, 1),
            settings: String::new(),
            body: "body.npz".into(),
            cost: cost(work),
            starts: 0,
        }
    }

    fn request(work: f64) -> (PageRequest, oneshot::Receiver<Result<String, Refusal>>) {
        let (answer, drawn) = oneshot::channel();
        let ticket = ticket("seen", work);
        (PageRequest { ticket, answer }, drawn)
    }

    /// The id of what is next, and whether it is a page.
    fn told(task: Option<Task>) -> Option<(String, bool)> {
        task.map(|task| match task {
            Task::Check(ticket, _) => (ticket.job.id, false),
            Task::Page(request) => (request.ticket.job.id, true),
            Task::End(..) => panic!("nothing has ended"),
        })
    }

    #[test]
    fn pages_come_first_and_jobs_in_their_order_unless_they_are_too_long() {
        let queue = Queue::default();
        for (id, work) in [("long", 100.0), ("short", 1.0), ("longer", 1000.0)] {
            queue.push(ticket(id, work));
        }
        let (request, _drawn) = request(50.0);
        queue.push_page(request);
        let is = |id: &str, is_page| Some((id.to_owned(), is_page));
        let no_room = Cost {
            memory: 0,
            ..cost(10.0)
        };
        assert_eq!(told(queue.next_within(no_room)), None);
        assert_eq!(told(queue.next_within(cost(10.0))), is("short", false));
        assert_eq!(told(queue.next_within(cost(10.0))), None);
        assert_eq!(told(queue.next()), is("seen", true));
        assert_eq!(told(queue.next()), is("long", false));
        queue.put_back(ticket("long", 100.0));
        assert_eq!(told(queue.next()), is("long", false));
        assert_eq!(queue.waiting(), 1);
    }

    #[test]
    fn a_place_is_held_for_a_job_on_its_way() {
        let queue = Arc::new(Queue::default());
        queue.push(ticket("first", 1.0));
        let place = queue.hold(2).unwrap();
        assert!(queue.hold(2).is_none());
        drop(place);
        assert!(queue.hold(2).is_some());
    }

    #[test]
    fn what_may_have_ended_a_process_is_done_alone() {
        let queue = Queue::default();
        let mut suspect = ticket("suspect", 1.0);
        suspect.starts = 2;
        queue.push(suspect);
        queue.push(ticket("other", 1.0));
        let other = Some(("other".to_owned(), false));
        assert_eq!(told(queue.next_within(cost(10.0))), other);
        assert_eq!(told(queue.next_within(cost(10.0))), None);
        assert_eq!(told(queue.next()).unwrap().0, "suspect");
    }

    #[test]
    fn a_job_is_cancelled_before_its_turn_or_told_to_end() {
        let queue = Queue::default();
        queue.push(ticket("first", 1.0));
        queue.push(ticket("second", 1.0));
        let Some(Task::Check(_, first)) = queue.next() else {
            panic!("no check")
        };
        assert!(queue.cancel("first").unwrap().1.is_none());
        assert!(first.is_cancelled());
        let (second, waiting) = queue.cancel("second").unwrap();
        assert!(second.is_cancelled());
        assert_eq!(waiting.unwrap().job.id, "second");
        assert!(queue.next_within(cost(10.0)).is_none());
        queue.end(second.job());
        assert!(queue.cancel("second").is_none());
    }

    #[test]
    fn who_waits_for_a_page_is_told_that_the_queue_is_closed() {
        let queue = Queue::default();
        let (before, mut drawn_before) = request(1.0);
        queue.push_page(before);
        queue.close();
        let (after, mut drawn_after) = request(1.0);
        queue.push_page(after);
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(drawn_before.try_recv().unwrap_err(), closed);
        assert_eq!(drawn_after.try_recv().unwrap_err(), closed);
        assert!(queue.next().is_none());
    }
}
