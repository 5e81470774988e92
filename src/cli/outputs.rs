//! Where a check's report goes: files, stdout, and what GitHub Actions reads.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{CheckArguments, JsonOutput};
use crate::{
    error::{Error, Result},
    io::{OutputFile, Source},
    output::{github, html, json, junit, markdown, text},
    report::Report,
    sweep::Sweep,
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
    /// What was checked.
    name: String,
    allow_inconclusive: bool,
}

impl Outputs {
    /// # Errors
    /// [`Error::Io`] if one of them cannot be written.
    pub(super) fn open(arguments: &CheckArguments, source: &Source) -> Result<Self> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::create).transpose();
        let in_actions = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let format = arguments.format.unwrap_or(match in_actions {
            true => Format::Github,
            false => Format::Text,
        });
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        let name = match source {
            Source::File(path) => path.as_path(),
            Source::Separate(files) => files
                .values()
                .next()
                .map_or(Path::new(""), PathBuf::as_path),
        };
        Ok(Self {
            json: JsonOutput::open(arguments.json.as_deref())?,
            html: file(&arguments.html)?,
            junit: file(&arguments.junit)?,
            format,
            summary: summary
                .filter(|_| format == Format::Github)
                .map(PathBuf::from),
            name: name.display().to_string(),
            allow_inconclusive: arguments.allow_inconclusive,
        })
    }

    /// Writes what was asked for; `sweeps` are for the page.
    ///
    /// # Errors
    /// [`Error::Io`] if something cannot be written.
    pub(super) fn deliver(
        self,
        report: &Report,
        sweeps: impl FnOnce() -> Result<Vec<Option<Sweep>>>,
    ) -> Result<()> {
        let write = |file: Option<OutputFile>, text: &str| match file {
            None => Ok(()),
            Some(mut file) => {
                file.write(text.as_bytes())?;
                file.finish()
            }
        };
        if self.html.is_some() {
            write(self.html, &html::render(report, &sweeps()?))?;
        }
        if self.junit.is_some() {
            let document = junit::render(report, &self.name, self.allow_inconclusive);
            write(self.junit, &document)?;
        }
        if let Some(path) = &self.summary {
            append(path, &markdown::render(report))?;
        }
        let shown = || match self.format {
            Format::Text => text::render(report),
            Format::Markdown => markdown::render(report),
            Format::Github => text::render(report) + &github::render(report, Some(&self.name)),
        };
        self.json.deliver(|| json::render(report), shown)
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
