//! What a user sees and keeps while a check runs: a bar on stderr, and the numeric gradient's file.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{check::Listener, error::Result, io::NumericFile};

/// A check that is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Watcher {
    started: Instant,
    bar: Option<ProgressBar>,
    numeric: Option<NumericFile>,
}

impl Watcher {
    pub(super) fn new(numeric: Option<NumericFile>) -> Self {
        Self {
            started: Instant::now(),
            bar: None,
            numeric,
        }
    }

    /// Takes the bar away and puts the file in its place.
    pub(super) fn finish(self) -> Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.numeric.map_or(Ok(()), NumericFile::finish)
    }
}

impl Listener for Watcher {
    fn progress(&mut self, done: u64, all: u64) {
        if self.bar.is_none()
            && self.started.elapsed() > PATIENCE
            && std::io::stderr().is_terminal()
        {
            let style = ProgressStyle::with_template(
                "{wide_bar} {human_pos} of {human_len} entries, {eta} left",
            );
            self.bar =
                Some(ProgressBar::new(all).with_style(style.expect("the template is a constant")));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
        }
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
