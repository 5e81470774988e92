//! Work beside Python: without the GIL, and with Ctrl-C.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use gradprobe::check::Listener;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::error;

/// Time between two looks for a signal. Chosen: a person does not notice it.
const PATIENCE: Duration = Duration::from_millis(50);
/// Looks for the end of abandoned work before Python exits without it: ten seconds.
const LOOKS: usize = 200;

/// A flag that is set once the work is to end. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Listener for Interrupts {
    fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads without work. They are kept because each has its own devices, which take long to open.
static IDLE: Mutex<Vec<Sender<Job>>> = Mutex::new(Vec::new());
/// The process that the threads belong to. A fork has none of them.
static OWNER: OnceLock<u32> = OnceLock::new();
/// The number of jobs that are not done.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

fn idle() -> MutexGuard<'static, Vec<Sender<Job>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that takes jobs, and offers itself for another after each.
fn worker() -> Sender<Job> {
    let (sender, jobs) = channel::<Job>();
    let own = sender.clone();
    thread::spawn(move || {
        for job in jobs {
            job();
            RUNNING.fetch_sub(1, Ordering::Release);
            idle().push(own.clone());
        }
    });
    sender
}

/// Runs `work` on another thread, and waits for it. A signal handler that raises, as that of Ctrl-C
/// does, ends the wait at once; the work ends at its next look at the flag.
///
/// # Errors
/// The exception of a signal handler; RuntimeError if the work panics; GradprobeError in a process
/// that was forked from one in which work has run.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(Interrupts) -> T + Send + 'static,
) -> PyResult<T> {
    if *OWNER.get_or_init(std::process::id) != std::process::id() {
        return Err(error::forked());
    }
    let interrupts = Interrupts::default();
    let (sender, receiver) = channel();
    let flag = interrupts.clone();
    let job: Job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(|| work(flag)));
        // Nobody receives the result of abandoned work.
        let _ = sender.send(result);
    });
    let worker = idle().pop().unwrap_or_else(worker);
    RUNNING.fetch_add(1, Ordering::Release);
    let gone = || PyRuntimeError::new_err("a thread of gradprobe is gone");
    worker.send(job).map_err(|_| gone())?;
    let receiver = Mutex::new(receiver);
    let wait = || {
        let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv_timeout(PATIENCE)
    };
    loop {
        match py.detach(wait) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(panic)) => return Err(PyRuntimeError::new_err(words(panic.as_ref()))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
        if let Err(raised) = py.check_signals() {
            interrupts.0.store(true, Ordering::Relaxed);
            return Err(raised);
        }
    }
}

/// Waits for abandoned work, which still holds arrays of Python. Called when Python exits.
#[pyfunction]
pub(crate) fn finish(py: Python<'_>) {
    py.detach(|| {
        for _ in 0..LOOKS {
            if RUNNING.load(Ordering::Acquire) == 0 {
                break;
            }
            thread::sleep(PATIENCE);
        }
    });
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "gradprobe has a fault: {}",
        text.unwrap_or("a panic without words")
    )
}
