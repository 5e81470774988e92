//! The progress of a check: a time forecast and a bar on stderr, and the file of `--numeric`.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::interrupts::Interrupts;
use crate::{check::Listener, error::Result, io::NumericFile, problem::Wrt};

/// The time after which the speed can be measured and a bar is drawn. Chosen.
const WARM_UP: Duration = Duration::from_secs(1);
/// The shortest check that gets a forecast. Chosen.
const LONG: Duration = Duration::from_secs(10);

/// A listener that displays progress and writes the numeric gradient.
pub(super) struct Progress {
    current: Option<Current>,
    bar: Option<ProgressBar>,
    has_bar: bool,
    numeric: Option<NumericFile>,
    interrupts: Interrupts,
}

/// The gradient or file that is being checked.
struct Current {
    name: String,
    /// Its size, in words.
    size: String,
    started: Instant,
    /// The time of the first report of progress, and the entries done by then. The time before is
    /// preparation, and would distort the speed.
    first: Option<(Instant, u64)>,
    is_announced: bool,
}

impl Current {
    /// Returns the entries per second and the remaining time, or `None` during the first second.
    fn speed(&mut self, done: u64, all: u64) -> Option<(f64, Duration)> {
        let (first, before) = *self.first.get_or_insert((Instant::now(), done));
        let taken = first.elapsed();
        (taken > WARM_UP && done > before).then(|| {
            let rate = (done - before) as f64 / taken.as_secs_f64();
            (rate, Duration::from_secs_f64((all - done) as f64 / rate))
        })
    }
}

fn bar(name: &str) -> ProgressBar {
    let style = "{msg} {wide_bar} {human_pos} of {human_len} entries, {prefix}";
    let style = ProgressStyle::with_template(style).expect("the template is a constant");
    // indicatif's own speed would include the entries that were done before the bar appeared.
    ProgressBar::new(0)
        .with_style(style)
        .with_message(name.to_owned())
}

impl Progress {
    pub(super) fn new(has_bar: bool, numeric: Option<NumericFile>, interrupts: Interrupts) -> Self {
        Self {
            current: None,
            bar: None,
            has_bar,
            numeric,
            interrupts,
        }
    }

    /// Starts a new bar for a gradient or file of that name and size.
    pub(super) fn start(&mut self, name: &str, size: String) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.current = Some(Current {
            name: name.to_owned(),
            size,
            started: Instant::now(),
            first: None,
            is_announced: false,
        });
    }

    /// Removes the bar, and moves the numeric file to its place if it is complete.
    ///
    /// # Errors
    /// Those of [`NumericFile::finish`].
    pub(super) fn finish(self) -> Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.numeric.map_or(Ok(()), NumericFile::finish)
    }
}

impl Listener for Progress {
    fn begin(&mut self, wrt: Wrt, entries: u64, bytes: u64) {
        let (entries, bytes) = (HumanCount(entries), ByteSize::b(bytes));
        self.start(
            wrt.grad_name(),
            format!("{entries} entries, {bytes} to read"),
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
            let total = current.started.elapsed() + left;
            if total > LONG {
                let Current { name, size, .. } = &current;
                tracing::warn!("{name}: {size}; it takes about {}", HumanDuration(total));
            }
            if self.has_bar && std::io::stderr().is_terminal() {
                self.bar = Some(bar(&current.name));
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
            let (rate, left) = (HumanCount(rate as u64), HumanDuration(left));
            bar.set_prefix(format!("{rate} per second, {left:#} left"));
        }
    }

    fn diagnosing(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_prefix("searching for the cause");
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.is_interrupted()
    }

    fn wants_numeric(&self) -> bool {
        self.numeric.is_some()
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        let numeric = self.numeric.as_mut();
        numeric.map_or(Ok(()), |file| file.write(rows))
    }
}
