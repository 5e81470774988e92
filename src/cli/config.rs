//! gradprobe.toml: defaults for flags that are not on the command line.
//!
//! The keys of the file are the flags of `gradprobe check` without their dashes, and `files`. Each
//! key becomes words of a command line, inserted after the command's name; then clap parses the
//! whole line. A value in the file therefore gets the same validation and the same error messages
//! as on the command line, and the command that a report prints to repeat the check needs no
//! settings file.
//!
//! A flag on the command line takes precedence over the file, and the file over the built-in
//! default.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    ArgMatches, CommandFactory, FromArgMatches,
    error::{ContextKind, ErrorKind},
};

use super::arguments::Arguments;
use crate::{
    error::{Error, Result},
    settings::{Settings, in_a_line},
};

mod file;

use file::is_given;

/// The name of the file.
const NAME: &str = "gradprobe.toml";
/// The commands that read the file.
const COMMANDS: [&str; 2] = ["check", "sweep"];

/// A command line, completed by gradprobe.toml.
pub(super) struct CommandLine {
    pub(super) arguments: Arguments,
    /// All its words, the program's name first.
    pub(super) words: Vec<OsString>,
    /// The settings of the check that it gives: names, without dashes, and values.
    pub(super) settings: Vec<(String, String)>,
    /// A line about the settings that came from gradprobe.toml.
    pub(super) note: Option<String>,
}

/// Parses `words`, the program's name first, completed by gradprobe.toml. Prints help or the
/// version and exits if `words` request it.
///
/// # Errors
/// [`Error::Usage`] for an invalid argument or setting, [`Error::Io`] and [`Error::Format`] for a
/// settings file that cannot be read.
pub(super) fn command_line(words: Vec<OsString>) -> Result<CommandLine> {
    let matches = parse(&words)?;
    let Some((command, given)) = matches.subcommand() else {
        return build(&matches, words);
    };
    if !COMMANDS.contains(&command) {
        return build(&matches, words);
    }
    let Some(path) = locate(given) else {
        return build(&matches, words);
    };
    let more = file::words(&path, command, given)?;
    let note = format!(
        "settings of {}: {}",
        path.display(),
        more.join(OsStr::new(" ")).display()
    );
    let mut completed = words;
    let is_command = |word: &OsString| COMMANDS.iter().any(|name| word == name);
    let end = completed.len();
    let behind_command = completed.iter().position(is_command);
    let behind_command = behind_command.map_or(end, |position| position + 1);
    completed.splice(behind_command..behind_command, more);
    // The command line alone was valid, so an error now is due to the file.
    let built = parse(&completed).and_then(|matches| build(&matches, completed));
    let built = built.map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    Ok(CommandLine {
        note: Some(note),
        ..built
    })
}

fn build(matches: &ArgMatches, words: Vec<OsString>) -> Result<CommandLine> {
    let arguments = Arguments::from_arg_matches(matches);
    let arguments = arguments.map_err(|error| Error::Usage(error.to_string()))?;
    let settings = match matches.subcommand() {
        Some(("check", given)) => settings(given),
        _ => Vec::new(),
    };
    Ok(CommandLine {
        arguments,
        words,
        settings,
        note: None,
    })
}

fn parse(words: &[OsString]) -> Result<ArgMatches> {
    Arguments::command()
        .try_get_matches_from(words)
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Error::Usage(explained(&error)),
        })
}

/// Returns a clap error as one line that ends with the help to consult.
fn explained(error: &clap::Error) -> String {
    let mut line = in_a_line(error);
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let command = usage.as_deref().and_then(|usage| {
        let words = usage.split_whitespace();
        let words = words.skip_while(|word| *word != "gradprobe");
        let words = words.take_while(|word| !word.starts_with(['[', '<', '-']));
        Some(words.collect::<Vec<_>>().join(" ")).filter(|command| !command.is_empty())
    });
    if let Some(command) = command {
        line += &format!("; see {command} --help");
    }
    line
}

/// Returns the file that `--config` names, or the nearest gradprobe.toml: in the current folder, or
/// else in a parent.
fn locate(given: &ArgMatches) -> Option<PathBuf> {
    if let Some(path) = given.get_one::<PathBuf>("config") {
        return Some(path.clone());
    }
    // A current folder that was removed has no parents.
    let here = std::env::current_dir().ok()?;
    let mut folder = PathBuf::new();
    for _ in 0..here.components().count() {
        let path = folder.join(NAME);
        if path.is_file() {
            return Some(path);
        }
        folder.push("..");
    }
    None
}

/// Returns the settings of a check that a command line gives.
fn settings(given: &ArgMatches) -> Vec<(String, String)> {
    let arguments = Settings::arguments();
    let settings = arguments.iter().filter_map(|arg| {
        let id = arg.get_id().as_str();
        let values = is_given(given, id).then(|| given.get_raw(id))??;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some((arg.get_long()?.to_owned(), values.join(",")))
    });
    settings.collect()
}
