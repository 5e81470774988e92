//! The one thread that computes. Short jobs overtake a long one between its calls, between the
//! causes that its diagnosis tries, and after its end.

use std::{
    io::ErrorKind,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    job::{Cost, Job, Outcome, State, now},
    queue::{JobHandle, PageRequest, Task},
    refusal::{Refusal, with_body_named},
    service::{Service, announce_end},
};
use crate::{
    device::Device,
    error::{Error, Result},
    output::{json, words},
};

mod device;
mod execution;
mod runner;

use execution::Execution;
use runner::Runner;

/// Pause between two attempts to save an outcome while the disk is full. Chosen.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// Starts the thread and waits until it has opened the device, which cannot leave the thread.
///
/// # Errors
/// Those of [`Device::select`].
pub(super) fn start(service: Arc<Service>) -> Result<JoinHandle<()>> {
    let (send, opened) = mpsc::channel();
    let body = move || {
        let device = match service.open_device() {
            Ok(device) => device,
            Err(error) => {
                // The receiver waits below.
                let _ = send.send(Err(error));
                return;
            }
        };
        let _ = service.device.set(device.info());
        let _ = send.send(Ok(()));
        Worker::new(&service, device).run();
    };
    let thread = thread::Builder::new().name("worker".to_owned());
    let handle = thread.spawn(body).map_err(Error::io("start", "a thread"))?;
    match opened.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Service(
            "the driver of the device crashed".to_owned(),
        )),
    }
}

/// The worker: takes tasks from the queue until it is closed.
struct Worker<'a> {
    service: &'a Service,
    runner: Runner<'a>,
}

impl<'a> Worker<'a> {
    fn new(service: &'a Service, device: Device) -> Self {
        Self {
            service,
            runner: Runner::new(service, device),
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
            Task::Check(job, handle) => self.check(job, &handle),
            Task::Page(request) => self.page(request),
            Task::Save(job, outcome, at) => self.save_again(job, &outcome, at),
        }
    }

    /// Performs the first queued task of at most `work` multiply-adds for which there is memory.
    /// Returns false if there is none.
    fn overtake(&self, work: f64) -> bool {
        let memory = self.runner.free_memory();
        let task = self.service.queue.next_within(Cost { work, memory });
        task.map(|task| self.perform(task)).is_some()
    }

    fn check(&self, job: Job, handle: &JobHandle) {
        let service = self.service;
        service.store.journal.begin(&job.view.id);
        handle.update(|view| view.state = State::Running);
        let overtake = |work| self.overtake(work);
        let mut execution = Execution::new(service, &job, Some(handle), &overtake);
        let done = self.runner.guarded(&job, || {
            let report = self.runner.report(&job, &mut execution)?;
            if report.interrupted {
                return Ok(None);
            }
            let (elapsed, spent) = (execution.elapsed(), execution.spent());
            service.metrics.checked(&report, elapsed, spent);
            Ok(Some(Outcome::Done {
                verdict: report.verdict,
                summary: words::brief(&report),
                report: json::part(&report).into(),
            }))
        });
        service.store.journal.end();
        let outcome = match done {
            _ if handle.is_cancelled() => Outcome::Cancelled,
            Ok(Some(outcome)) => outcome,
            Ok(None) if execution.is_too_long() => Outcome::Failed(self.too_long()),
            // The service shuts down. The next one repeats the check from the start.
            Ok(None) => return service.queue.requeue(job),
            Err(error) => {
                let name = job.display_name();
                Outcome::Failed(with_body_named(&error.to_string(), &job.body, &name))
            }
        };
        self.save(job, outcome);
        // The next job may be just as long: short jobs behind both must not wait for both.
        execution.yield_to_shorter();
    }

    fn too_long(&self) -> String {
        format!(
            "the check took longer than {} s, the limit of this service",
            self.service.options.limits.check.as_secs()
        )
    }

    /// Saves the outcome of a job and announces it once it is on the disk. Does not wait for that.
    fn save(&self, job: Job, outcome: Outcome) {
        let Service {
            store,
            queue,
            metrics,
            ..
        } = self.service;
        let (id, at) = (job.view.id.clone(), now());
        let (queue, metrics, saved) = (queue.clone(), metrics.clone(), outcome.clone());
        let then = move |kept| match kept {
            Ok(true) => announce_end(&queue, &metrics, job, saved, at),
            // A client cancelled the job first.
            Ok(false) => announce_end(&queue, &metrics, job, Outcome::Cancelled, at),
            Err(error) => {
                tracing::error!("{error}");
                queue.push_save(job, saved, at);
            }
        };
        store.finish(&id, &outcome, at, then);
    }

    /// Saves an outcome that could not be saved before, and deletes old jobs to make room.
    fn save_again(&self, job: Job, outcome: &Outcome, at: f64) {
        let service = self.service;
        service.delete_expired();
        let is_first = loop {
            match service.store.finish_now(&job.view.id, outcome, at) {
                Ok(is_first) => break is_first,
                Err(error) => tracing::error!("{error}"),
            }
            if service.is_shutting_down() {
                // The job is still queued in the store. The next service repeats it.
                return;
            }
            thread::sleep(SAVE_AGAIN);
            service.delete_expired();
        };
        let outcome = if is_first {
            outcome.clone()
        } else {
            Outcome::Cancelled
        };
        announce_end(&service.queue, &service.metrics, job, outcome, at);
    }

    /// Answers a request for the page of a report.
    fn page(&self, request: PageRequest) {
        let PageRequest { job, answer } = request;
        if answer.is_closed() {
            return;
        }
        let overtake = |work| self.overtake(work);
        let mut execution = Execution::new(self.service, &job, None, &overtake);
        let page = self
            .runner
            .guarded(&job, || self.runner.page(&job, &mut execution));
        let page = match page {
            Ok(Some(page)) => Ok(page),
            Ok(None) if execution.is_too_long() => Err(Error::Service(self.too_long())),
            // The service shuts down. Dropping the answer gives the client a 503.
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let refusal = |error: Error| match &error {
            // The job has been deleted, its body first.
            Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                Refusal::unknown_check()
            }
            _ => Refusal::from(error).with_body_named(&job.body, &job.display_name()),
        };
        // The client may have disconnected.
        let _ = answer.send(page.map_err(refusal));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        check::{Listener, Subject},
        io,
        loss::CrossEntropy,
        problem::{Problem, Wrt},
        report::{DeviceKind, Verdict},
        serve::{
            job::JobView,
            options::{Limits, Options},
            store::{ReceivedBody, page},
        },
        tensor::{Dtype, Tensor},
    };

    fn service(folder: &Path, device: &str) -> Service {
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

    fn on_cpu(service: &Service) -> Worker<'_> {
        Worker::new(service, Device::Cpu { note: None })
    }

    fn no_other(_work: f64) -> bool {
        false
    }

    /// Keeps a job: the smallest problem, with its correct gradient.
    fn accept(service: &Service, id: &str) -> Job {
        let problem = Problem::new(
            Tensor::from_f64(&[1, 2], &[1.0, 2.0]),
            Tensor::from_f64(&[2, 2], &[0.5, -0.5, 0.0, 1.0]),
            None,
            &Tensor::from_classes(&[1]),
            CrossEntropy::default(),
        )
        .unwrap();
        let p = 1.0 / (1.0 + 2.5_f64.exp());
        // In f32, as the shaders compute.
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
        let body = ReceivedBody::Inline("safetensors", Arc::new(fs::read(&path).unwrap()));
        let view = JobView::queued(id.to_owned(), None, 1);
        let cost = Cost {
            work: 1.0,
            memory: 1 << 20,
        };
        service
            .store
            .accept(view, String::new(), cost, body)
            .unwrap()
    }

    /// A lost device is reopened and the job runs on it. If it cannot be reopened, the CPU replaces
    /// it, with a note in the report.
    #[test]
    fn a_lost_device_costs_no_job() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = service(folder.path(), "software");
        let job = accept(&service, "it");
        for (name, kind) in [
            ("software", DeviceKind::Software),
            ("no such device", DeviceKind::Cpu),
        ] {
            let device = Device::select("software").unwrap();
            let Device::Gpu(opened) = &device else {
                panic!("{device:?}");
            };
            opened.destroy();
            service.options.device = name.to_owned();
            let runner = Runner::new(&service, device);
            let mut execution = Execution::new(&service, &job, None, &no_other);
            let report = runner.report(&job, &mut execution).unwrap();
            assert_eq!(report.verdict, Verdict::Pass);
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

    #[test]
    fn a_short_job_behind_two_long_ones_waits_for_one_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let works = [("long", 1e6), ("as long", 1e6), ("short", 1.0)];
        let handles = works.map(|(id, work)| {
            let mut job = accept(&service, id);
            job.cost.work = work;
            service.queue.push(job)
        });
        on_cpu(&service).perform(service.queue.next().unwrap());
        service.store.settle();
        let states = handles.map(|handle| handle.view().state);
        assert_eq!(states, [State::Done, State::Queued, State::Done]);
    }

    #[test]
    fn a_short_job_overtakes_a_diagnosis_that_reports_its_progress() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let worker = on_cpu(&service);
        let overtake = |work| worker.overtake(work);
        let mut job = accept(&service, "long");
        job.cost.work = 1e6;
        let long = service.queue.push(job.clone());
        let Some(Task::Check(..)) = service.queue.next() else {
            panic!("no check")
        };
        let short = service.queue.push(accept(&service, "short"));
        // A suspect job runs alone.
        job.crashes = 2;
        let mut execution = Execution::new(&service, &job, Some(&long), &overtake);
        execution.diagnosing();
        assert_eq!(short.view().state, State::Queued);
        job.crashes = 0;
        let mut execution = Execution::new(&service, &job, Some(&long), &overtake);
        execution.begin(Wrt::Input, 100, 0);
        thread::sleep(execution::PROGRESS_INTERVAL);
        execution.diagnosing();
        service.store.settle();
        assert_eq!(short.view().state, State::Done);
        let progress = long.view().progress.unwrap();
        assert_eq!((progress.done, progress.total), (100, 100));
    }

    #[test]
    fn a_report_waits_for_room_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let jobs = ["a", "b", "c", "d", "e"].map(|id| accept(&service, id));
        let handles = jobs.each_ref().map(|it| service.queue.push(it.clone()));
        for _ in &jobs {
            service.queue.next().unwrap();
        }
        let worker = on_cpu(&service);
        let report = format!("\"{}\"", "x".repeat(5000));
        let outcome = Outcome::Done {
            verdict: Verdict::Pass,
            summary: String::new(),
            report: RawValue::from_string(report).unwrap().into(),
        };
        service.store.limit_pages(1);
        for job in jobs {
            worker.save(job, outcome.clone());
        }
        service.store.settle();
        assert!(handles.iter().all(|it| it.view().state == State::Queued));
        service.store.limit_pages(1000);
        for _ in &handles {
            worker.perform(service.queue.next().unwrap());
        }
        assert!(handles.iter().all(|it| it.view().state == State::Done));
        assert!(service.store.queued().unwrap().is_empty());
    }

    #[test]
    fn prerenders_the_page_of_an_expensive_check_only() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let mut job = accept(&service, "it");
        let worker = on_cpu(&service);
        for (work, is_rendered) in [(1.0, false), (1e10, true)] {
            job.cost.work = work;
            let mut execution = Execution::new(&service, &job, None, &no_other);
            worker.runner.report(&job, &mut execution).unwrap();
            assert_eq!(page(&job.body).exists(), is_rendered);
        }
        // A request gets the page that was kept.
        fs::write(page(&job.body), "as it was kept").unwrap();
        let (answer, mut rendered) = tokio::sync::oneshot::channel();
        worker.page(PageRequest { job, answer });
        assert_eq!(rendered.try_recv().unwrap().unwrap(), "as it was kept");
    }

    #[test]
    fn a_panic_ends_one_check_and_not_the_thread() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path(), "cpu");
        let runner = on_cpu(&service).runner;
        let job = accept(&service, "it");
        let free = runner.free_memory();
        let error = runner
            .guarded::<()>(&job, || panic!("as it happens"))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("gradprobe crashed during this check")
        );
        assert_eq!(runner.guarded(&job, || Ok(1)).unwrap(), 1);
        assert_eq!(runner.free_memory(), free);
    }
}
