//! Where a check's report goes: files, stdout, and what GitHub Actions reads.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{JsonOutput, check::CheckArguments, print};
use crate::{
    error::{Error, Result},
    io::OutputFile,
    output::{
        Run, github, html, json, junit, markdown,
        text::{self, Layout},
    },
    report::Verdict,
};

/// What stdout shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For a terminal.
    Text,
    /// For a comment.
    Markdown,
    /// For a terminal, then annotations; the job's summary is Markdown.
    Github,
}

/// All of them, open before there is anything to write.
pub(super) struct Outputs {
    json: JsonOutput,
    html: Option<OutputFile>,
    junit: Option<OutputFile>,
    format: Format,
    /// Only of what did not pass.
    quiet: bool,
    layout: Layout,
    /// The job's summary, which others write to as well.
    summary: Option<PathBuf>,
    allow_inconclusive: bool,
}

impl Outputs {
    /// # Errors
    /// [`Error::Io`] if one of them cannot be written.
    pub(super) fn open(arguments: &CheckArguments) -> Result<Self> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::create).transpose();
        let in_actions = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let format = arguments.format.unwrap_or(if in_actions {
            Format::Github
        } else {
            Format::Text
        });
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        Ok(Self {
            json: JsonOutput::open(arguments.json.as_deref())?,
            html: file(&arguments.html)?,
            junit: file(&arguments.junit)?,
            format,
            quiet: arguments.quiet,
            layout: layout(),
            summary: summary
                .filter(|_| format == Format::Github)
                .map(PathBuf::from),
            allow_inconclusive: arguments.allow_inconclusive,
        })
    }

    /// Tells in a line what came of one of several files.
    ///
    /// # Errors
    /// [`Error::Io`] if stdout cannot be written.
    pub(super) fn tell(&self, run: &Run) -> Result<()> {
        match (&self.json, self.format) {
            (JsonOutput::Stdout, _) | (_, Format::Markdown) => Ok(()),
            (_, Format::Text | Format::Github) => match &run.outcome {
                Ok(report) if self.quiet && report.verdict == Verdict::Pass => Ok(()),
                _ => print(&text::line(run, self.layout)),
            },
        }
    }

    /// Writes what was asked for.
    ///
    /// # Errors
    /// [`Error::Io`] if something cannot be written.
    pub(super) fn deliver(self, runs: &[Run]) -> Result<()> {
        let write = |file: Option<OutputFile>, text: &dyn Fn() -> String| match file {
            None => Ok(()),
            Some(mut file) => {
                file.write(text().as_bytes())?;
                file.finish()
            }
        };
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
        write(html, &|| html::render(runs))?;
        write(junit, &|| junit::render(runs, allow_inconclusive))?;
        if let Some(path) = &summary {
            append(path, &markdown::render(runs))?;
        }
        let text = || match (quiet, runs) {
            (false, _) => text::render_all(runs, layout),
            (true, [run]) => match &run.outcome {
                Ok(report) => text::sentences(report, layout),
                Err(_) => String::new(),
            },
            // Their lines have been told.
            (true, _) => String::new(),
        };
        let shown = || match format {
            Format::Text => text(),
            Format::Markdown => markdown::render(runs),
            Format::Github => text() + &github::render(runs),
        };
        json.deliver(|| json::render_all(runs), shown)
    }
}

/// The widest text that is read with ease, and the narrowest that holds a label and some words.
const WIDTHS: std::ops::RangeInclusive<usize> = 50..=100;

/// Colours and lines of a terminal's width; in a file or a pipe lines are left whole.
fn layout() -> Layout {
    let stdout = std::io::stdout();
    let size = terminal_size::terminal_size_of(&stdout);
    Layout {
        coloured: super::is_coloured(&stdout),
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
