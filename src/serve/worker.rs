//! The one thread that computes. A check gives way to much shorter ones: between its chunks, between the causes that it tries, and when it has ended.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Service, in_words,
    job::{Job, Progress, State, now},
    metrics::Metrics,
    query,
    queue::{Live, PageRequest, Queue, Task},
    refusal::Refusal,
    store::{self, Cost, Outcome, Ticket},
};
use crate::{
    check::{Listener, check},
    device::Device,
    error::{Error, Result},
    io::{self, Inputs, Source},
    output::{Run, document::Document, html, json, words},
    problem::Wrt,
    report::{DeviceKind, Report},
    settings::{Settings, command_line, flags},
};

/// How often those who watch a job are told of its progress.
const TELLING: Duration = Duration::from_millis(100);
/// Of a check's work: what takes no more passes it.
const MUCH_SHORTER: f64 = 0.1;
/// Where a processor spends so many multiply-adds in all and on an entry, its page is drawn along: that costs it little, and to check again for it much.
const DRAWN_ALONG: f64 = 1e9;
const DRAWN_ALONG_OF_ENTRY: f64 = 200.0;
/// How long a body is read before others are let pass, and again.
const READING: Duration = Duration::from_millis(5);
/// A device that was lost and could not be had again is asked for again after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the thread, which opens the device: it cannot leave it.
///
/// # Errors
/// Those of [`Device::select`].
pub(super) fn start(service: Arc<Service>) -> Result<JoinHandle<()>> {
    let (send, opened) = mpsc::channel();
    let body = move || {
        let device = match service.device() {
            Ok(device) => device,
            Err(error) => {
                // Who waits for it is there.
                let _ = send.send(Err(error));
                return;
            }
        };
        let _ = service.device.set(device.info());
        let _ = send.send(Ok(()));
        Worker::new(&service, device).run();
    };
    let thread = std::thread::Builder::new().name("worker".to_owned());
    let handle = thread.spawn(body).map_err(Error::io("start", "a thread"))?;
    match opened.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Service("the device's driver has failed".to_owned())),
    }
}

struct Worker<'a> {
    service: &'a Service,
    /// Shared by the checks that are under way, of which one waits for the others.
    device: RefCell<Rc<Device>>,
    /// Since when the processor stands in for a device that cannot be had.
    lost: Cell<Option<Instant>>,
    /// Bytes that the checks under way take.
    taken: Cell<u64>,
}

impl<'a> Worker<'a> {
    fn new(service: &'a Service, device: Device) -> Self {
        Self {
            service,
            device: RefCell::new(Rc::new(device)),
            lost: Cell::new(None),
            taken: Cell::new(0),
        }
    }

    fn run(&self) {
        while let Some(task) = self.service.queue.next() {
            self.perform(task);
        }
        self.service.store.settle();
    }

    fn perform(&self, task: Task) {
        match task {
            Task::Check(ticket, live) => self.check(ticket, &live),
            Task::Page(request) => self.page(request),
            Task::End(ticket, outcome, at) => self.end_at_last(ticket, &outcome, at),
        }
    }

    fn check(&self, ticket: Ticket, live: &Live) {
        let started = Instant::now();
        self.service.store.under_way.begin(&ticket.job.id);
        live.tell(|job| job.state = State::Running);
        let mut turn = Turn::new(self, &ticket, Some(live));
        let done = self.guarded(&ticket, || {
            let report = self.report(&ticket, &mut turn)?;
            if report.interrupted {
                return Ok(None);
            }
            let (took, spent) = (started.elapsed(), turn.spent());
            self.service.metrics.checked(&report, took, spent);
            let report = Document::from(&report);
            Ok(Some(Outcome::Done {
                verdict: report.verdict,
                summary: words::brief(&report),
                report: json::part(&report).into(),
            }))
        });
        self.service.store.under_way.end();
        let outcome = match done {
            _ if live.is_cancelled() => Outcome::Cancelled,
            Ok(Some(outcome)) => outcome,
            Ok(None) if turn.is_too_long() => Outcome::Failed(self.too_long()),
            // The service is to end: whatever is done of it is done again.
            Ok(None) => return self.service.queue.put_back(ticket),
            Err(error) => {
                let called = name(&ticket.job);
                Outcome::Failed(in_words(&error.to_string(), &ticket.body, &called))
            }
        };
        self.end(ticket, outcome);
        // The next one may be as long: those that came behind both would wait for all of either.
        turn.give_way();
    }

    fn too_long(&self) -> String {
        format!(
            "it took longer than {} s, which is as long as this service works on a check",
            self.service.options.limits.check.as_secs()
        )
    }

    /// Has kept what came of a job, and then told, while the next is begun.
    fn end(&self, ticket: Ticket, outcome: Outcome) {
        let Service {
            store,
            queue,
            metrics,
            ..
        } = self.service;
        let (id, at) = (ticket.job.id.clone(), now());
        let (queue, metrics, of) = (queue.clone(), metrics.clone(), outcome.clone());
        let then = move |kept| match kept {
            Ok(true) => tell(&queue, &metrics, ticket, of, at),
            // It was cancelled before.
            Ok(false) => tell(&queue, &metrics, ticket, Outcome::Cancelled, at),
            Err(error) => {
                tracing::error!("{error}");
                queue.push_end(ticket, of, at);
            }
        };
        store.finish(&id, &outcome, at, then);
    }

    /// The same where it could not be kept at once.
    fn end_at_last(&self, ticket: Ticket, outcome: &Outcome, at: f64) {
        let service = self.service;
        // A full disk: old jobs go, and then it is tried again.
        service.forget();
        let is_first = loop {
            match service.store.finish_now(&ticket.job.id, outcome, at) {
                Ok(is_first) => break is_first,
                Err(error) => tracing::error!("{error}"),
            }
            if service.is_ending() {
                // It is still queued in the store, and will be done again.
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
            service.forget();
        };
        let outcome = if is_first {
            outcome.clone()
        } else {
            Outcome::Cancelled
        };
        tell(&service.queue, &service.metrics, ticket, outcome, at);
    }

    /// Draws the report of a job, which means to check it again: the same tensors on the same device give the same report.
    fn page(&self, request: PageRequest) {
        let PageRequest { ticket, answer } = request;
        if answer.is_closed() {
            return;
        }
        let mut turn = Turn::new(self, &ticket, None);
        let drawn = self.guarded(&ticket, || {
            // Who asked before may have had it drawn.
            if let Ok(text) = std::fs::read_to_string(store::page(&ticket.body)) {
                return Ok(Some(text));
            }
            let read = self.read(&ticket, &mut turn)?;
            let report = self.checked(&ticket, &read, true, &mut turn)?;
            if report.interrupted {
                Ok(None)
            } else {
                self.draw(&ticket, &read, report).map(Some)
            }
        });
        let drawn = match drawn {
            Ok(None) if turn.is_too_long() => Err(Error::Service(self.too_long())),
            // The service is to end, which who waits sees when the answer is dropped.
            Ok(None) => return,
            Ok(Some(page)) => Ok(page),
            Err(error) => Err(error),
        };
        let refused = |error: Error| match &error {
            // It has been let go: its body goes first.
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Refusal::no_such_check()
            }
            _ => Refusal::from(error).of_body(&ticket.body, &name(&ticket.job)),
        };
        // Who has gone away needs no page.
        let _ = answer.send(drawn.map_err(refused));
    }

    /// Checks what a job brought.
    fn report(&self, ticket: &Ticket, turn: &mut Turn<'_>) -> Result<Report> {
        let read = self.read(ticket, turn)?;
        let draws = self.is_drawn_along(ticket, &read.inputs);
        let report = self.checked(ticket, &read, draws, turn)?;
        if draws && !report.interrupted {
            // Without it the page is drawn when somebody asks for it.
            if let Err(error) = self.draw(ticket, &read, report.clone()) {
                tracing::warn!("{error}");
            }
        }
        Ok(report)
    }

    /// Draws a report as a page, and keeps it.
    fn draw(&self, ticket: &Ticket, read: &Read, report: Report) -> Result<String> {
        let sweeps = read.settings.sweeps(&read.inputs, &report)?;
        let text = html::render(&[Run::new(name(&ticket.job), report, sweeps)]);
        if let Err(error) = self.service.store.keep_page(ticket, &text) {
            // Then it is drawn again when it is asked for again.
            tracing::warn!("{error}");
        }
        Ok(text)
    }

    fn is_drawn_along(&self, ticket: &Ticket, inputs: &Inputs) -> bool {
        let wrts = inputs.subjects.iter().map(|subject| subject.wrt);
        let entries: usize = wrts
            .map(|wrt| inputs.problem.rows(wrt) * inputs.problem.columns(wrt))
            .sum();
        let kind = self.device.borrow().info().kind;
        matches!(kind, DeviceKind::Cpu | DeviceKind::Software)
            && ticket.cost.work >= DRAWN_ALONG.max(DRAWN_ALONG_OF_ENTRY * entries as f64)
    }

    /// Reads what a job brought; where that may take long, others pass meanwhile.
    fn read(&self, ticket: &Ticket, turn: &mut Turn<'_>) -> Result<Read> {
        let started = Instant::now();
        let settings = Settings::parse(&query::pairs(&ticket.settings))?;
        let service = self.service;
        let body = service.store.source(ticket)?;
        let load = || service.load(&settings, &body);
        let is_short = matches!(body, Source::Bytes(..)) && !io::is_packed(&body);
        let (inputs, _) = if is_short {
            load()
        } else {
            std::thread::scope(|scope| {
                let (send, loaded) = mpsc::channel();
                scope.spawn(move || {
                    // Who waits for it is there.
                    let _ = send.send(load());
                });
                loop {
                    match loaded.recv_timeout(READING) {
                        Ok(loaded) => return loaded,
                        Err(mpsc::RecvTimeoutError::Timeout) => turn.give_way(),
                        // Its panic comes after.
                        Err(mpsc::RecvTimeoutError::Disconnected) => {
                            return Err(Error::Service("a body could not be read".to_owned()));
                        }
                    }
                }
            })
        }?;
        Ok(Read {
            settings,
            inputs,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Checks, and if the device fails once more on it opened anew; then on the processor, which the report says.
    fn checked(
        &self,
        ticket: &Ticket,
        read: &Read,
        draws: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Report> {
        let started = Instant::now();
        let Inputs {
            problem, subjects, ..
        } = &read.inputs;
        let options = read.settings.options(draws);
        let once = |device: &Device, turn: &mut Turn<'_>| {
            (turn.before, turn.current) = (0, 0);
            check(problem, subjects, &options, device, turn)
        };
        let device = self.current();
        let mut report = match once(&device, turn) {
            Err(Error::Gpu { reason, .. }) => {
                tracing::warn!(
                    "{} failed ({reason}) and is opened anew",
                    device.info().name
                );
                self.service.metrics.lost();
                let device = self.reopen(&reason);
                match once(&device, turn) {
                    Err(Error::Gpu { device, reason }) => {
                        let note = Some(format!("{device} failed twice: {reason}"));
                        once(&Device::Cpu { note }, turn)?
                    }
                    other => other?,
                }
            }
            other => other?,
        };
        report.command = repeat(&ticket.job, &ticket.settings);
        report.notes.clone_from(&read.inputs.notes);
        report.seconds.load = read.seconds;
        report.seconds.total = read.seconds + started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// The device, or after a while the one that was lost, if it can be had again.
    fn current(&self) -> Rc<Device> {
        if let Some(since) = self.lost.get()
            && since.elapsed() > PATIENCE
        {
            self.reopen("it could not be opened");
        }
        self.device.borrow().clone()
    }

    fn reopen(&self, reason: &str) -> Rc<Device> {
        let name = self.device.borrow().info().name;
        let device = match self.service.device() {
            Ok(device) => {
                self.lost.set(None);
                device
            }
            Err(error) => {
                tracing::error!("{error}");
                self.lost.set(Some(Instant::now()));
                let note = Some(format!("{name} is lost: {reason}"));
                Device::Cpu { note }
            }
        };
        let device = Rc::new(device);
        *self.device.borrow_mut() = device.clone();
        device
    }

    /// Does the work of a job, and takes its memory meanwhile. A fault of this program ends the job, and no more.
    fn guarded<T>(&self, ticket: &Ticket, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let taken = self.taken.get();
        self.taken.set(taken + ticket.cost.memory);
        let done = catch_unwind(AssertUnwindSafe(work));
        self.taken.set(taken);
        done.unwrap_or_else(|_| {
            // Nobody knows what it has left on the device.
            self.reopen("a fault of gradprobe");
            let said = "a fault of gradprobe has ended this check: please tell its developers";
            Err(Error::Service(said.to_owned()))
        })
    }
}

/// What a job brought.
struct Read {
    settings: Settings,
    inputs: Inputs,
    /// How long it took to read it.
    seconds: f64,
}

/// What a client calls a job, or its name in URLs.
pub(super) fn name(job: &Job) -> String {
    job.name.clone().unwrap_or_else(|| job.id.clone())
}

/// The command line that would do the same with the file that its sender has named.
fn repeat(job: &Job, query: &str) -> Option<String> {
    let name = job.name.clone()?;
    let pairs = query::pairs(query);
    let words = ["check".to_owned(), name].into_iter().chain(flags(&pairs));
    Some(command_line(words))
}

/// Tells whoever waits for a job that it has ended.
pub(super) fn tell(queue: &Queue, metrics: &Metrics, ticket: Ticket, outcome: Outcome, at: f64) {
    metrics.ended(&outcome);
    let job = ended(ticket.job, outcome, at);
    let what = [&job.summary, &job.error].into_iter().flatten().next();
    tracing::info!(
        "{}: {} {}",
        job.id,
        job.verdict.map_or_else(
            || job.state.name().to_owned(),
            |verdict| verdict.to_string()
        ),
        what.map_or("", String::as_str)
    );
    queue.end(job);
}

/// A job as it is in the end.
fn ended(mut job: Job, outcome: Outcome, at: f64) -> Job {
    job.progress = None;
    job.finished = Some(at);
    match outcome {
        Outcome::Done {
            verdict,
            summary,
            report,
        } => {
            job.state = State::Done;
            job.verdict = Some(verdict);
            job.summary = Some(summary);
            job.report = Some(report);
        }
        Outcome::Failed(error) => {
            job.state = State::Failed;
            job.error = Some(error);
        }
        Outcome::Cancelled => job.state = State::Cancelled,
    }
    job
}

/// What happens between the chunks of a check.
struct Turn<'a> {
    worker: &'a Worker<'a>,
    /// Multiply-adds that it takes, about.
    work: f64,
    /// Whether it gives way: what may have ended a process does not, so that nothing is taken along if it does so again.
    gives_way: bool,
    /// Who is told of the progress; nobody of a page's.
    live: Option<&'a Live>,
    started: Instant,
    /// Time that other jobs took in between.
    given: Duration,
    /// When its progress was told, or it began.
    told: Instant,
    /// Entries of the gradients before, and of the current one.
    before: u64,
    current: u64,
}

impl<'a> Turn<'a> {
    fn new(worker: &'a Worker<'a>, ticket: &Ticket, live: Option<&'a Live>) -> Self {
        Self {
            worker,
            work: ticket.cost.work,
            gives_way: !ticket.is_suspect(),
            live,
            started: Instant::now(),
            given: Duration::ZERO,
            told: Instant::now(),
            before: 0,
            current: 0,
        }
    }

    /// Time that was spent on it.
    fn spent(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.given)
    }

    fn is_too_long(&self) -> bool {
        self.spent() > self.worker.service.options.limits.check
    }

    /// Tells now and then how many entries of this gradient are done.
    fn tell(&mut self, done: u64) {
        if let Some(live) = self.live
            && self.told.elapsed() > TELLING
        {
            self.told = Instant::now();
            let progress = Progress {
                done: self.before + done,
                total: self.before + self.current,
                rate: (self.before + done) as f64 / self.spent().as_secs_f64().max(1e-9),
            };
            live.tell(|job| job.progress = Some(progress));
        }
    }

    /// Lets pass what is much shorter, which gives way in its turn; but half of the time is its own.
    fn give_way(&mut self) {
        let (own, began) = (self.spent(), Instant::now());
        let Service { options, queue, .. } = self.worker.service;
        let most = Cost {
            work: MUCH_SHORTER * self.work,
            memory: (options.limits.memory).saturating_sub(self.worker.taken.get()),
        };
        while self.gives_way
            && self.given + began.elapsed() <= own
            && let Some(task) = queue.next_within(most)
        {
            self.worker.perform(task);
        }
        self.given += began.elapsed();
    }
}

impl Listener for Turn<'_> {
    fn begin(&mut self, _wrt: Wrt, entries: u64, _bytes: u64) {
        self.before += self.current;
        self.current = entries;
    }

    fn progress(&mut self, done: u64, all: u64) {
        // Of a right gradient the report comes at once.
        if done < all {
            self.tell(done);
            self.give_way();
        }
    }

    fn diagnosing(&mut self) {
        self.tell(self.current);
        self.give_way();
    }

    fn is_interrupted(&self) -> bool {
        self.worker.service.abort.load(Ordering::Relaxed)
            || self.live.is_some_and(Live::is_cancelled)
            || self.is_too_long()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        check::Subject,
        io,
        loss::CrossEntropy,
        problem::Problem,
        report::{DeviceKind, Verdict},
        serve::{
            Limits, Options,
            store::{Received, page},
        },
        tensor::{Dtype, Tensor},
    };

    fn service(folder: &std::path::Path, device: &str) -> Service {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: folder.to_owned(),
            device: device.to_owned(),
            memory: 1 << 30,
            token: None,
            insecure: false,
            limits: Limits::default(),
            keep_for: Duration::from_secs(3600),
            keep_bytes: 1 << 30,
            grace: Duration::ZERO,
        };
        Service::new(options).unwrap()
    }

    /// A right gradient of the smallest problem.
    fn accept(service: &Service, id: &str) -> Ticket {
        let problem = Problem::new(
            Tensor::from_f64(&[1, 2], &[1.0, 2.0]),
            Tensor::from_f64(&[2, 2], &[0.5, -0.5, 0.0, 1.0]),
            None,
            &Tensor::from_classes(&[1]),
            CrossEntropy::default(),
        )
        .unwrap();
        let p = 1.0 / (1.0 + 2.5_f64.exp());
        // As wide as the shaders are.
        let gradient = [0.5 * p, -1.5 * p].map(|value| (value as f32).to_le_bytes());
        let gradient = Arc::new(gradient.as_flattened().to_vec());
        let gradient = Tensor::over(Dtype::F32, vec![1, 2], gradient, 0..8);
        let subject = Subject {
            wrt: Wrt::Input,
            gradient,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.safetensors");
        io::save(&path, &problem, &subject).unwrap();
        let body = Received::Short("safetensors", Arc::new(std::fs::read(&path).unwrap()));
        let job = Job::queued(id.to_owned(), None, 1);
        let cost = Cost {
            work: 1.0,
            memory: 1 << 20,
        };
        service
            .store
            .accept(job, String::new(), cost, body)
            .unwrap()
    }

    /// A device that is gone is opened anew, and the job is done on it; one that is gone for good is stood in for, and the report says so.
    #[test]
    fn a_lost_device_costs_no_job() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = service(folder.path(), "software");
        let ticket = accept(&service, "it");
        for (asked, kind) in [
            ("software", DeviceKind::Software),
            ("no such device", DeviceKind::Cpu),
        ] {
            let device = Device::select("software").unwrap();
            let Device::Gpu(opened) = &device else {
                panic!("{device:?}");
            };
            opened.destroy();
            service.options.device = asked.to_owned();
            let worker = Worker::new(&service, device);
            let mut turn = Turn::new(&worker, &ticket, None);
            let report = worker.report(&ticket, &mut turn).unwrap();
            assert_eq!(report.verdict(), crate::report::Verdict::Pass);
            assert_eq!(report.device.kind, kind);
            let note = report.device.note.unwrap_or_default();
            assert_eq!(
                note.contains("is lost: "),
                kind == DeviceKind::Cpu,
                "{note}"
            );
        }
        assert!(
            service
                .metrics
                .render(0)
                .contains("gradprobe_devices_lost_total 2")
        );
    }

    /// What came behind two long checks waits for one of them.
    #[test]
    fn a_short_check_waits_for_no_row_of_long_ones() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let works = [("long", 1e6), ("as long", 1e6), ("short", 1.0)];
        let live = works.map(|(id, work)| {
            let mut ticket = accept(&service, id);
            ticket.cost.work = work;
            service.queue.push(ticket)
        });
        let worker = Worker::new(&service, Device::Cpu { note: None });
        worker.perform(service.queue.next().unwrap());
        service.store.settle();
        let states = live.map(|live| live.job().state);
        assert_eq!(states, [State::Done, State::Queued, State::Done]);
    }

    /// Whoever comes while a cause is looked for does not wait for it, and it is known how far the check is.
    #[test]
    fn a_short_check_passes_a_diagnosis() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let worker = Worker::new(&service, Device::Cpu { note: None });
        let mut ticket = accept(&service, "long");
        ticket.cost.work = 1e6;
        let long = service.queue.push(ticket.clone());
        let Some(Task::Check(..)) = service.queue.next() else {
            panic!("no check")
        };
        let short = service.queue.push(accept(&service, "short"));
        // But for one that may have ended a process.
        ticket.starts = 2;
        let mut turn = Turn::new(&worker, &ticket, Some(&long));
        turn.diagnosing();
        assert_eq!(short.job().state, State::Queued);
        ticket.starts = 0;
        let mut turn = Turn::new(&worker, &ticket, Some(&long));
        turn.begin(Wrt::Input, 100, 0);
        std::thread::sleep(TELLING);
        turn.diagnosing();
        service.store.settle();
        assert_eq!(short.job().state, State::Done);
        let progress = long.job().progress.unwrap();
        assert_eq!((progress.done, progress.total), (100, 100));
    }

    /// A report for which there is no room is kept, and told, as soon as there is.
    #[test]
    fn a_report_waits_for_room() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let tickets = ["a", "b", "c", "d", "e"].map(|id| accept(&service, id));
        let live = tickets.each_ref().map(|it| service.queue.push(it.clone()));
        for _ in &tickets {
            service.queue.next().unwrap();
        }
        let worker = Worker::new(&service, Device::Cpu { note: None });
        let report = format!("\"{}\"", "x".repeat(5000));
        let outcome = Outcome::Done {
            verdict: Verdict::Pass,
            summary: String::new(),
            report: RawValue::from_string(report).unwrap().into(),
        };
        service.store.limit_pages(1);
        for ticket in tickets {
            worker.end(ticket, outcome.clone());
        }
        service.store.settle();
        assert!(live.iter().all(|it| it.job().state == State::Queued));
        service.store.limit_pages(1000);
        for _ in &live {
            worker.perform(service.queue.next().unwrap());
        }
        assert!(live.iter().all(|it| it.job().state == State::Done));
        assert!(service.store.queued().unwrap().is_empty());
    }

    /// What would take long to be drawn later is drawn along, and nothing else.
    #[test]
    fn a_long_check_draws_its_page_along() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let mut ticket = accept(&service, "it");
        let worker = Worker::new(&service, Device::Cpu { note: None });
        for (work, is_drawn) in [(1.0, false), (1e10, true)] {
            ticket.cost.work = work;
            let mut turn = Turn::new(&worker, &ticket, None);
            worker.report(&ticket, &mut turn).unwrap();
            assert_eq!(page(&ticket.body).exists(), is_drawn);
        }
        // Whoever asks for it gets it as it was kept.
        std::fs::write(page(&ticket.body), "as it was kept").unwrap();
        let (answer, mut drawn) = tokio::sync::oneshot::channel();
        worker.page(PageRequest { ticket, answer });
        assert_eq!(drawn.try_recv().unwrap().unwrap(), "as it was kept");
    }

    /// A fault of this program ends one check, in words, and the thread goes on.
    #[test]
    fn a_panic_ends_a_check_alone() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let worker = Worker::new(&service, Device::Cpu { note: None });
        let ticket = accept(&service, "it");
        let error = worker
            .guarded::<()>(&ticket, || panic!("as it happens"))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a fault of gradprobe has ended this check")
        );
        assert_eq!(worker.guarded(&ticket, || Ok(1)).unwrap(), 1);
        assert_eq!(worker.taken.get(), 0);
    }
}
