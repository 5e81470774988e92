//! What a user sees and keeps while a check runs: a forecast and a bar on stderr, and the numeric gradient's file; and how to stop it.

use std::{
    fmt::Write,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::{check::Listener, error::Result, io::NumericFile, problem::Wrt};

/// After it the speed is known: then a forecast is given, and on a terminal a bar is drawn.
const PATIENCE: Duration = Duration::from_secs(1);
/// A check that takes no longer needs no forecast.
const LONG: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    /// What is being checked: since when, of what, how many entries, and how many bytes.
    current: Option<(Instant, Wrt, u64, u64)>,
    bar: Option<ProgressBar>,
    draws: bool,
    numeric: Option<NumericFile>,
    interrupts: Interrupts,
}

/// Whether Ctrl-C was pressed.
#[derive(Clone, Default)]
pub(super) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// From here on Ctrl-C asks checks to end.
    pub(super) fn listen() -> Self {
        let interrupts = Self::default();
        let pressed = interrupts.clone();
        // Where it cannot be listened for, the program just ends.
        let _ = ctrlc::set_handler(move || pressed.0.store(true, Ordering::Relaxed));
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
    pub(super) fn new(draws: bool, numeric: Option<NumericFile>) -> Self {
        Self {
            current: None,
            bar: None,
            draws,
            numeric,
            interrupts: Interrupts::default(),
        }
    }

    /// From here on Ctrl-C asks the check to end.
    pub(super) fn listen_for_interrupts(&mut self) {
        self.interrupts = Interrupts::listen();
    }

    /// Takes the bar away and puts the file in its place, unless it is not whole.
    pub(super) fn finish(self, interrupted: bool) -> Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        match self.numeric {
            Some(file) if !interrupted => file.finish(),
            _ => Ok(()),
        }
    }
}

impl Listener for Watcher {
    fn begin(&mut self, wrt: Wrt, entries: u64, bytes: u64) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.current = Some((Instant::now(), wrt, entries, bytes));
    }

    fn progress(&mut self, done: u64, all: u64) {
        if let Some((started, wrt, entries, bytes)) = self.current
            && started.elapsed() > PATIENCE
        {
            self.current = None;
            let name = wrt.grad_name();
            let whole = started.elapsed().mul_f64(all as f64 / done.max(1) as f64);
            if whole > LONG {
                tracing::warn!(
                    "{name} has {} entries, with {} to read: about {}",
                    HumanCount(entries),
                    ByteSize::b(bytes),
                    HumanDuration(whole)
                );
            }
            if self.draws && std::io::stderr().is_terminal() {
                let style = ProgressStyle::with_template(
                    "{msg} {wide_bar} {human_pos} of {human_len} entries, {rate} a second, {eta} left",
                );
                let style = style.expect("the template is a constant").with_key(
                    "rate",
                    |state: &ProgressState, out: &mut dyn Write| {
                        // A string takes everything.
                        let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
                    },
                );
                let bar = ProgressBar::new(all).with_style(style).with_message(name);
                self.bar = Some(bar.with_elapsed(started.elapsed()));
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
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
