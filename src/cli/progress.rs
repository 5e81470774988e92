//! What a user sees and keeps while a check runs: a forecast and a bar on stderr, and the numeric gradient's file; and how to stop it.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{check::Listener, error::Result, io::NumericFile, problem::Wrt};

/// After it the speed is known: then a forecast is given, and on a terminal a bar is drawn.
const PATIENCE: Duration = Duration::from_secs(1);
/// A check that takes no longer needs no forecast.
const LONG: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    current: Option<Current>,
    bar: Option<ProgressBar>,
    draws: bool,
    numeric: Option<NumericFile>,
    interrupts: Interrupts,
}

/// What is being checked.
struct Current {
    name: String,
    /// How much there is of it.
    what: String,
    started: Instant,
    /// When entries were done first, and how many: what comes before is preparation.
    first: Option<(Instant, u64)>,
    is_announced: bool,
}

impl Current {
    /// Entries a second, and for how long they will be done yet; none until that is known.
    fn speed(&mut self, done: u64, all: u64) -> Option<(f64, Duration)> {
        let (first, before) = *self.first.get_or_insert((Instant::now(), done));
        let taken = first.elapsed();
        (taken > PATIENCE && done > before).then(|| {
            let rate = (done - before) as f64 / taken.as_secs_f64();
            (rate, Duration::from_secs_f64((all - done) as f64 / rate))
        })
    }
}

fn bar(name: &str) -> ProgressBar {
    let style = "{msg} {wide_bar} {human_pos} of {human_len} entries, {prefix}";
    let style = ProgressStyle::with_template(style).expect("the template is a constant");
    // Its own speed would count what was done before there was a bar.
    ProgressBar::new(0)
        .with_style(style)
        .with_message(name.to_owned())
}

/// Whether the program was asked to end.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// From here on Ctrl-C, or what a supervisor sends, asks checks to end.
    pub(super) fn listen() -> Self {
        let interrupts = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Where it cannot be listened for, the program just ends.
            let _ = signal_hook::flag::register(signal, interrupts.0.clone());
        }
        interrupts
    }
}

impl Listener for Interrupts {
    fn is_interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Watcher {
    /// With a bar or without.
    pub(super) fn new(draws: bool, numeric: Option<NumericFile>, interrupts: Interrupts) -> Self {
        Self {
            current: None,
            bar: None,
            draws,
            numeric,
            interrupts,
        }
    }

    /// From here on what is called so is checked.
    pub(super) fn start(&mut self, name: &str, what: String) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.current = Some(Current {
            name: name.to_owned(),
            what,
            started: Instant::now(),
            first: None,
            is_announced: false,
        });
    }

    /// Takes the bar away and puts the file in its place, unless it is not whole.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.numeric.map_or(Ok(()), NumericFile::finish)
    }
}

impl Listener for Watcher {
    fn begin(&mut self, wrt: Wrt, entries: u64, bytes: u64) {
        let (entries, bytes) = (HumanCount(entries), ByteSize::b(bytes));
        self.start(
            wrt.grad_name(),
            format!("{entries} entries, with {bytes} to read"),
        );
    }

    fn progress(&mut self, done: u64, all: u64) {
        let Some(current) = &mut self.current else {
            return;
        };
        let Some((rate, left)) = current.speed(done, all) else {
            return;
        };
        if !std::mem::replace(&mut current.is_announced, true) {
            let whole = current.started.elapsed() + left;
            if whole > LONG {
                let Current { name, what, .. } = &current;
                tracing::warn!("{name} has {what}: about {}", HumanDuration(whole));
            }
            if self.draws && std::io::stderr().is_terminal() {
                self.bar = Some(bar(&current.name));
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
            let (rate, left) = (HumanCount(rate as u64), HumanDuration(left));
            bar.set_prefix(format!("{rate} a second, {left:#} left"));
        }
    }

    fn diagnosing(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_prefix("looking for the cause");
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.is_interrupted()
    }

    fn wants_numeric(&self) -> bool {
        self.numeric.is_some()
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        self.numeric
            .as_mut()
            .map_or(Ok(()), |file| file.write(rows))
    }
}
