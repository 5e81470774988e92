//! The destinations of a check's report: files, stdout, and the job summary of GitHub Actions.

use std::{
    io::Write,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use clap::{ArgAction, Args, ValueEnum};

use super::{
    destination::{Destination, require_one_stdout},
    stdout::{is_coloured, print},
};
use crate::{
    error::{Error, Result},
    output::{
        Run, github, html, json, junit, markdown,
        text::{self, Layout},
    },
    report::Verdict,
};

/// The heading of these flags in the help.
const HEADING: &str = "Output";

#[derive(Args)]
pub(super) struct OutputArguments {
    /// text, markdown or github [default: text; github in its Actions]
    ///
    /// The format of stdout. github prints text and then annotations, and appends Markdown to the
    /// job summary. It is the default where the variable GITHUB_ACTIONS is true.
    #[arg(
        long,
        help_heading = HEADING,
        value_enum,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(super) format: Option<Format>,
    /// Print errors, and a sentence per gradient that does not pass
    #[arg(short, long, help_heading = HEADING, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Exit with 0 if the verdict is inconclusive
    #[arg(
        long,
        help_heading = HEADING,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = ArgAction::Set,
        hide_possible_values = true,
        hide_default_value = true,
        value_name = "BOOL"
    )]
    pub(super) allow_inconclusive: bool,
    /// Write the report as JSON (-: on stdout, instead of the text)
    #[arg(long, help_heading = HEADING, value_name = "FILE|-")]
    pub(super) json: Option<PathBuf>,
    /// Write the report as an HTML page with plots (-: on stdout)
    ///
    /// The page is a single file that loads nothing.
    #[arg(long, help_heading = HEADING, value_name = "FILE|-")]
    pub(super) html: Option<PathBuf>,
    /// Write JUnit XML, a test case per gradient (-: on stdout)
    #[arg(long, help_heading = HEADING, value_name = "FILE|-")]
    pub(super) junit: Option<PathBuf>,
}

/// The format of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text for a terminal.
    Text,
    /// Markdown, for a comment.
    Markdown,
    /// Text, then GitHub annotations; the job summary gets Markdown.
    Github,
}

/// The destinations of a report. All are opened before anything is computed.
pub(super) struct Outputs {
    json: Destination,
    html: Destination,
    junit: Destination,
    format: Format,
    /// True if stdout shows only gradients that did not pass.
    quiet: bool,
    layout: Layout,
    /// The file of the job summary. Other steps of the job append to it too.
    summary: Option<PathBuf>,
    allow_inconclusive: bool,
}

impl Outputs {
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Usage`] if two documents would go to
    /// stdout.
    pub(super) fn open(arguments: &OutputArguments) -> Result<Self> {
        require_one_stdout(&[
            ("--json", arguments.json.as_deref()),
            ("--html", arguments.html.as_deref()),
            ("--junit", arguments.junit.as_deref()),
        ])?;
        let in_actions = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let format = arguments.format.unwrap_or(if in_actions {
            Format::Github
        } else {
            Format::Text
        });
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        Ok(Self {
            json: Destination::open(arguments.json.as_deref())?,
            html: Destination::open(arguments.html.as_deref())?,
            junit: Destination::open(arguments.junit.as_deref())?,
            format,
            quiet: arguments.quiet,
            layout: layout(),
            summary: summary
                .filter(|_| format == Format::Github)
                .map(PathBuf::from),
            allow_inconclusive: arguments.allow_inconclusive,
        })
    }

    /// Prints one line on one of several files.
    ///
    /// # Errors
    /// [`Error::Io`] if stdout cannot be written.
    pub(super) fn print_line(&self, run: &Run) -> Result<()> {
        if self.is_stdout_taken() || self.format == Format::Markdown {
            return Ok(());
        }
        match &run.outcome {
            Ok(report) if self.quiet && report.verdict == Verdict::Pass => Ok(()),
            _ => print(&text::line(run, self.layout)),
        }
    }

    /// Returns true if a document takes the place of the text on stdout.
    fn is_stdout_taken(&self) -> bool {
        [&self.json, &self.html, &self.junit]
            .into_iter()
            .any(Destination::is_stdout)
    }

    /// Writes the report to all destinations.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be written.
    pub(super) fn deliver(self, runs: &[Run]) -> Result<()> {
        let is_taken = self.is_stdout_taken();
        let Self {
            json,
            html,
            junit,
            format,
            quiet,
            layout,
            summary,
            allow_inconclusive,
        } = self;
        html.write(|| html::render(runs))?;
        junit.write(|| junit::render(runs, allow_inconclusive))?;
        if let Some(path) = &summary {
            let written = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            let left = markdown::MOST_BYTES.saturating_sub(written as usize);
            append(path, &markdown::render_within(runs, left))?;
        }
        json.write(|| json::render_all(runs))?;
        if is_taken {
            return Ok(());
        }
        let text = || match (quiet, runs) {
            (false, _) => text::render_all(runs, layout),
            (true, [run]) => match &run.outcome {
                Ok(report) => text::sentences(report, layout),
                Err(_) => String::new(),
            },
            // Of several files each line was printed when the file was done.
            (true, _) => String::new(),
        };
        print(&match format {
            Format::Text => text(),
            Format::Markdown => markdown::render(runs),
            Format::Github => text() + &github::render(runs),
        })
    }
}

/// The widths that text is wrapped to, in columns: at least a label and some words, at most a line
/// that is easy to read. Chosen.
const WIDTHS: RangeInclusive<usize> = 50..=100;

/// Returns the layout of stdout: colours, and lines of the terminal's width. In a file or a pipe,
/// lines are not wrapped.
fn layout() -> Layout {
    let stdout = std::io::stdout();
    let size = terminal_size::terminal_size_of(&stdout);
    Layout {
        coloured: is_coloured(&stdout),
        width: size.map(|(width, _)| usize::from(width.0).clamp(*WIDTHS.start(), *WIDTHS.end())),
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io("write", path))
}
