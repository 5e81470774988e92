//! What is said on stderr beside errors: notes, and with `--verbose` what is being done.

use std::{fmt, time::Instant};

use anstyle::{AnsiColor, Style};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// From here on stderr has the library's notes, unless `quiet`; with `verbose` 1 its steps, too, with 2 or more each of their parts.
pub(super) fn listen(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    let format = Lines {
        started: Instant::now(),
        coloured: super::is_coloured(&std::io::stderr()),
    };
    let log = tracing_subscriber::fmt()
        .event_format(format)
        .with_max_level(level)
        .with_writer(std::io::stderr);
    // Where another program has set one up, that one listens.
    let _ = log.try_init();
}

/// `note: ...`, or the seconds since the start and what was done.
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
