//! Where a check's report goes: files, stdout, and what GitHub Actions reads.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{JsonOutput, check::CheckArguments, print};
use crate::{
    error::{Error, Result},
    io::OutputFile,
    output::{Run, github, html, json, junit, markdown, text},
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
        let format = arguments.format.unwrap_or(match in_actions {
            true => Format::Github,
            false => Format::Text,
        });
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        Ok(Self {
            json: JsonOutput::open(arguments.json.as_deref())?,
            html: file(&arguments.html)?,
            junit: file(&arguments.junit)?,
            format,
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
            (_, Format::Text | Format::Github) => print(&text::line(run)),
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
        write(self.html, &|| html::render(runs))?;
        write(self.junit, &|| junit::render(runs, self.allow_inconclusive))?;
        if let Some(path) = &self.summary {
            append(path, &markdown::render(runs))?;
        }
        let shown = || match self.format {
            Format::Text => text::render_all(runs),
            Format::Markdown => markdown::render(runs),
            Format::Github => text::render_all(runs) + &github::render(runs),
        };
        self.json.deliver(|| json::render_all(runs), shown)
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
}
