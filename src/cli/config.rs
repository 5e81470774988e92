//! Words of the command line, and of gradprobe.toml: a flag wins over the file, and the file over a default.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ErrorKind},
    parser::ValueSource,
};
use toml::{Table, Value};

use super::Arguments;
use crate::{
    error::{Error, Result},
    settings::{Settings, in_a_line},
};

/// The file's name.
const NAME: &str = "gradprobe.toml";
/// Positional arguments by the name that they have in the file.
const FILES: &str = "files";
/// The commands that read it.
const COMMANDS: [&str; 2] = ["check", "sweep"];
/// Flags that a service has no use for: how this machine computes, and what it keeps of what it computed.
const HERE: [&str; 4] = ["device", "memory", "numeric", "save-failures"];
/// Flags whose value is a path: in the file it is meant from the file's folder.
const PATHS: [&str; 5] = ["json", "html", "junit", "numeric", "save-failures"];

/// The arguments in `words`, the program's name first, completed by gradprobe.toml, and all their words.
///
/// # Errors
/// [`Error::Usage`] for what is no argument or no setting, [`Error::Io`] and [`Error::Format`] for a file that cannot be read.
pub(super) fn arguments(words: Vec<OsString>) -> Result<Completed> {
    let matches = parse(&words)?;
    let settings = match matches.subcommand() {
        Some((name, given)) if COMMANDS.contains(&name) => match locate(given)? {
            Some(path) => settings(&path, name, given)?,
            None => return build(&matches, words),
        },
        _ => return build(&matches, words),
    };
    let mut completed = words;
    let command = completed
        .iter()
        .position(|word| COMMANDS.iter().any(|name| word == name))
        .map_or(completed.len(), |place| place + 1);
    let ConfigFile { path, words } = settings;
    let said = words.join(OsStr::new(" "));
    let said = format!("settings of {}: {}", path.display(), said.display());
    completed.splice(command..command, words);
    // What was well without the file's words is wrong because of them.
    let parsed = parse(&completed).and_then(|matches| build(&matches, completed));
    let completed = parsed.map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    Ok(Completed {
        from_file: Some(said),
        ..completed
    })
}

/// What a command line says, with gradprobe.toml.
pub(super) struct Completed {
    pub(super) arguments: Arguments,
    /// All its words, the program's name first.
    pub(super) words: Vec<OsString>,
    /// What is said of the check itself: names without dashes, and values.
    pub(super) settings: Vec<(String, String)>,
    /// What gradprobe.toml gave, in a line.
    pub(super) from_file: Option<String>,
}

fn build(matches: &ArgMatches, words: Vec<OsString>) -> Result<Completed> {
    let arguments = Arguments::from_arg_matches(matches);
    let arguments = arguments.map_err(|error| Error::Usage(error.to_string()))?;
    let settings = match matches.subcommand() {
        Some(("check", given)) => settings_in(given),
        _ => Vec::new(),
    };
    Ok(Completed {
        arguments,
        words,
        settings,
        from_file: None,
    })
}

/// Whether the command line has an argument, which the command need not know.
fn is_given(given: &ArgMatches, id: &str) -> bool {
    given
        .try_contains_id(id)
        .is_ok_and(|_| given.value_source(id) == Some(ValueSource::CommandLine))
}

fn settings_in(given: &ArgMatches) -> Vec<(String, String)> {
    let arguments = Settings::arguments();
    let settings = arguments.iter().filter_map(|arg| {
        let id = arg.get_id().as_str();
        let values = is_given(given, id).then(|| given.get_raw(id))??;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some((arg.get_long()?.to_owned(), values.join(",")))
    });
    settings.collect()
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

/// The fault in a line, and which command's help has more.
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
        line += &format!("; {command} --help has what there is");
    }
    line
}

/// The file that was named, or the nearest: in this folder, or else in one that it lies in.
fn locate(given: &ArgMatches) -> Result<Option<PathBuf>> {
    if let Some(path) = given.get_one::<PathBuf>("config") {
        return Ok(Some(path.clone()));
    }
    // A folder that has been removed has none above it.
    let Ok(here) = std::env::current_dir() else {
        return Ok(None);
    };
    let depth = here.components().count();
    let mut folder = PathBuf::new();
    for _ in 0..depth {
        let path = folder.join(NAME);
        if path.is_file() {
            return Ok(Some(path));
        }
        folder.push("..");
    }
    Ok(None)
}

/// What a file says, as words of a command line.
struct ConfigFile {
    path: PathBuf,
    words: Vec<OsString>,
}

/// Those that the command takes and the command line leaves open.
fn settings(path: &Path, command: &str, given: &ArgMatches) -> Result<ConfigFile> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().map_or("", |span| &text[..span.start]);
        Error::Format {
            path: path.to_owned(),
            format: "TOML",
            reason: format!("line {}: {}", before.split('\n').count(), error.message()),
        }
    })?;
    let program = Arguments::command();
    let [all, own] = ["check", command].map(|name| {
        let found = program.find_subcommand(name);
        found.expect("the commands are the program's own")
    });
    let folder = path.parent().unwrap_or(Path::new(""));
    // Of the two the command line chooses, or else the file a service.
    let is_here = HERE
        .iter()
        .any(|flag| is_given(given, &flag.replace('-', "_")));
    let by_server = table.contains_key("server") && !is_here;
    let mut words = Vec::new();
    for (key, value) in &table {
        let Some(arg) = find(all, key) else {
            return Err(Error::Usage(format!(
                "{}: {key} is no setting: the flags of gradprobe check are, without their dashes, and {FILES}",
                path.display()
            )));
        };
        let separate = key == FILES && is_given(given, "input");
        let elsewhere = match key.as_str() {
            "server" => is_here,
            key => HERE.contains(&key) && (is_given(given, "server") || by_server),
        };
        let is_left_open = !is_given(given, arg.get_id().as_str()) && !separate && !elsewhere;
        if find(own, key).is_none() || !is_left_open {
            continue;
        }
        let of_setting = to_words(arg, key, value, folder);
        words.extend(of_setting.map_err(|expected| {
            let found = scalar(value).unwrap_or_else(|| format!("of type {}", value.type_str()));
            Error::Usage(format!(
                "{}: {key} is {found}, but {expected}",
                path.display()
            ))
        })?);
    }
    Ok(ConfigFile {
        path: path.to_owned(),
        words,
    })
}

/// The argument that a key of the file stands for.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| match arg.get_long() {
        Some(long) => long == key && !["config", "quiet"].contains(&key),
        None => arg.is_positional() && key == FILES,
    })
}

fn to_words(
    arg: &Arg,
    key: &str,
    value: &Value,
    folder: &Path,
) -> std::result::Result<Vec<OsString>, &'static str> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let texts = match value {
        Value::Array(values) if is_list => values.iter().map(scalar).collect::<Option<Vec<_>>>(),
        value => scalar(value).map(|text| vec![text]),
    };
    let texts = texts.ok_or(if is_list {
        "it must be a text or a list of texts"
    } else {
        "it must be a text, a number, true or false"
    })?;
    if key == FILES {
        return Ok(texts.iter().map(|text| folder.join(text).into()).collect());
    }
    let is_path = PATHS.contains(&key) && texts.iter().all(|text| text != "-");
    let text = texts.join(",");
    let mut word = OsString::from(format!("--{key}="));
    word.push(if is_path {
        folder.join(text).into_os_string()
    } else {
        text.into()
    });
    Ok(vec![word])
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
