//! A `gradprobe check` command as a whole: its arguments, and the words that repeat it.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::arguments::{CheckArguments, name};
use crate::{
    cli::{SUCCESS, interrupts::INTERRUPTED},
    error::{Error, Result},
    io::Source,
    output::Run,
    report::Verdict,
    settings::command_line,
};

pub(super) struct CheckCommand {
    pub(super) arguments: CheckArguments,
    /// The words of the command line and of gradprobe.toml, without the program's name.
    words: Vec<OsString>,
    /// The same without the files, and without the flags on the results of all files.
    words_for_each: Vec<OsString>,
    /// The settings of the check by name.
    pub(super) settings: Vec<(String, String)>,
}

/// Flags on the results of all files together. Each has a value.
const OF_ALL_FILES: [&str; 7] = [
    "--jobs",
    "--json",
    "--html",
    "--junit",
    "--format",
    "--numeric",
    "--save-failures",
];

impl CheckCommand {
    pub(super) fn new(
        arguments: CheckArguments,
        words: Vec<OsString>,
        settings: Vec<(String, String)>,
    ) -> Self {
        let files = arguments.inputs.files.iter().map(PathBuf::as_path);
        let words_for_each = for_each(&words, &files.collect());
        Self {
            arguments,
            words,
            words_for_each,
            settings,
        }
    }

    /// Returns the command line that repeats the command.
    pub(super) fn repeat(&self) -> String {
        command_line(self.words.iter().map(|word| word.to_string_lossy()))
    }

    /// Returns the command line that repeats the check of one file, without the flags on the
    /// results of all files.
    pub(super) fn repeat_for(&self, source: &Source) -> String {
        let words = self.words_for_each.iter();
        let words = words.map(|word| word.to_string_lossy());
        command_line(words.chain([name(source).into()]))
    }

    /// Returns the highest exit code of all files.
    pub(super) fn exit_code(&self, runs: &[Run]) -> u8 {
        exit_code(runs, self.arguments.output.allow_inconclusive)
    }

    /// Checks that no result would overwrite an input or another result.
    ///
    /// # Errors
    /// [`Error::Usage`] if one would.
    pub(super) fn require_distinct(&self, source: &Source) -> Result<()> {
        let resolve = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        // Each path, with the flag that gives it, if it is a result.
        let mut taken: Vec<(PathBuf, Option<&str>)> = match source {
            Source::File(file) | Source::Bytes(file, _) => vec![(resolve(file), None)],
            Source::Tensors(_) | Source::Shared(..) => Vec::new(),
            Source::Separate(files) => {
                let files = files.values();
                files.map(|file| (resolve(file), None)).collect()
            }
        };
        let output = &self.arguments.output;
        let results = [
            ("--json", &output.json),
            ("--html", &output.html),
            ("--junit", &output.junit),
            ("--numeric", &self.arguments.numeric),
        ];
        for (flag, path) in results {
            // Several results may go to one pipe or device, such as /dev/null; - is stdout.
            let is_file =
                |path: &&PathBuf| path.as_os_str() != "-" && (path.is_file() || !path.exists());
            let Some(path) = path.as_ref().filter(is_file) else {
                continue;
            };
            let resolved = resolve(path);
            if let Some((_, by)) = taken.iter().find(|(taken, _)| *taken == resolved) {
                let what = by.map_or("an input".to_owned(), |by| format!("the file of {by}"));
                let path = path.display();
                return Err(Error::Usage(format!(
                    "{flag} {path} would overwrite {what}; choose another file"
                )));
            }
            taken.push((resolved, Some(flag)));
        }
        Ok(())
    }
}

/// Returns the highest exit code of the runs.
pub(super) fn exit_code(runs: &[Run], allow_inconclusive: bool) -> u8 {
    let code = |run: &Run| match &run.outcome {
        Ok(report) if report.interrupted => INTERRUPTED,
        Ok(report) => match report.verdict {
            Verdict::Pass => 0,
            Verdict::Inconclusive if allow_inconclusive => 0,
            Verdict::Inconclusive | Verdict::Fail => 1,
        },
        Err(_) => 2,
    };
    runs.iter().map(code).max().unwrap_or(SUCCESS)
}

/// Returns the words without the files, and without the flags on the results of all files.
fn for_each(words: &[OsString], files: &HashSet<&Path>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = words.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let (flag, has_value) = match text.split_once('=') {
            Some((flag, _)) => (flag, true),
            None => (text.as_ref(), false),
        };
        if OF_ALL_FILES.contains(&flag) {
            if !has_value {
                arguments.next();
            }
        } else if !files.contains(Path::new(argument)) {
            kept.push(argument.clone());
        }
    }
    kept
}
