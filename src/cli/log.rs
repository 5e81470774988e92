//! Notes on stderr, and with `--verbose` the steps of a run.

use std::{fmt, time::Instant};

use anstyle::{AnsiColor, Style};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::stdout::is_coloured;

/// Starts to print the library's events to stderr: notes, unless `quiet` is set; steps from
/// `verbose` 1 on; details from 2 on.
pub(super) fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    let format = Lines {
        started: Instant::now(),
        coloured: is_coloured(&std::io::stderr()),
    };
    let log = tracing_subscriber::fmt()
        .event_format(format)
        .with_max_level(level)
        .with_writer(std::io::stderr);
    // A program that calls this library may have set up its own log, which then stays.
    let _ = log.try_init();
}

/// The format of a line: `note: ...`, or the seconds since the start and the step.
struct Lines {
    started: Instant,
    coloured: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (label, style) = match *event.metadata().level() {
            Level::ERROR => ("error:".to_owned(), AnsiColor::Red.on_default().bold()),
            Level::WARN => ("note:".to_owned(), AnsiColor::Yellow.on_default()),
            _ => (
                format!("{:.3} s", self.started.elapsed().as_secs_f64()),
                Style::new().dimmed(),
            ),
        };
        if self.coloured {
            write!(out, "{style}{label}{style:#} ")?
        } else {
            write!(out, "{label} ")?
        }
        context.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
