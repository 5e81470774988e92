//! The contents of gradprobe.toml as words of a command line.

use std::{
    any::TypeId,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, parser::ValueSource};
use toml_edit::{DocumentMut, Item, Table, TomlError, Value};

use crate::{
    cli::arguments::Arguments,
    error::{Error, Result},
};

/// The key of the positional arguments.
const FILES: &str = "files";
/// Flags of one run, which are no settings of a project.
const COMMAND_LINE_ONLY: [&str; 6] = ["config", "help", "quiet", "tensor", "verbose", "version"];
/// The least similarity of a misspelt key to a setting (Jaro and Winkler). Chosen: `devise` reaches
/// 0.93, `smoothing` 0.5.
const LEAST_SIMILARITY: f64 = 0.8;
/// Flags that do not apply if a service checks: how this machine computes, and results that a
/// service does not return.
const LOCAL: [&str; 4] = ["device", "memory", "numeric", "save-failures"];

/// Returns true if an argument is on the command line. Returns false for a default, and for an
/// argument that the command lacks.
pub(super) fn is_given(given: &ArgMatches, id: &str) -> bool {
    given
        .try_contains_id(id)
        .is_ok_and(|_| given.value_source(id) == Some(ValueSource::CommandLine))
}

/// Returns the file's settings as words, without those that `command` lacks or that `given`, the
/// command line, overrides.
///
/// # Errors
/// [`Error::Io`] and [`Error::Format`] if the file cannot be read, [`Error::Usage`] for an unknown
/// key or a value of the wrong type.
pub(super) fn words(path: &Path, command: &str, given: &ArgMatches) -> Result<Vec<OsString>> {
    let table = read(path)?;
    let program = Arguments::command();
    let [check, own] = ["check", command].map(|name| {
        let found = program.find_subcommand(name);
        found.expect("check and sweep are commands of the program")
    });
    let folder = path.parent().unwrap_or(Path::new(""));
    let failed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
    let overridden = Overridden::new(&table, given);
    let mut words = Vec::new();
    for (key, item) in &table {
        let Some(arg) = find(check, key) else {
            return Err(failed(refusal(check, key)));
        };
        if find(own, key).is_none() || overridden.contains(arg, key) {
            continue;
        }
        words.extend(to_words(arg, key, item, folder).map_err(|expected| {
            let found = item.as_value().and_then(scalar);
            let found = found.unwrap_or_else(|| format!("of type {}", item.type_name()));
            failed(format!("{key} is {found}, but {expected}"))
        })?);
    }
    Ok(words)
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let parsed = text.parse().map(|document: DocumentMut| {
        let mut table = document.into_table();
        // The command that repeats a check is the same whatever the order in the file.
        table.sort_values();
        table
    });
    parsed.map_err(|error: TomlError| {
        let before = error.span().map_or("", |span| &text[..span.start]);
        let line = before.split('\n').count();
        Error::Format {
            path: path.to_owned(),
            format: "TOML",
            reason: format!("line {line}: {}", error.message()),
        }
    })
}

/// Decides which keys the command line overrides.
struct Overridden<'a> {
    given: &'a ArgMatches,
    /// True if the command line requires a check on this machine.
    is_local: bool,
    /// True if a service checks.
    is_remote: bool,
}

impl<'a> Overridden<'a> {
    fn new(table: &Table, given: &'a ArgMatches) -> Self {
        let has = |flag: &str| is_given(given, &flag.replace('-', "_"));
        let is_local = LOCAL.into_iter().any(has);
        // If the file has both a server and local settings, the server takes precedence.
        let is_remote = has("server") || (table.contains_key("server") && !is_local);
        Self {
            given,
            is_local,
            is_remote,
        }
    }

    fn contains(&self, arg: &Arg, key: &str) -> bool {
        is_given(self.given, arg.get_id().as_str())
            // Tensors in .npy files replace all other files.
            || (key == FILES && ["input", "tensor"].iter().any(|id| is_given(self.given, id)))
            || (key == "server" && self.is_local)
            || (LOCAL.contains(&key) && self.is_remote)
    }
}

/// Returns the argument for a key of the file.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| match arg.get_long() {
        Some(long) => long == key && !COMMAND_LINE_ONLY.contains(&key),
        None => arg.is_positional() && key == FILES,
    })
}

/// Returns the reason why a key is no setting, with the nearest one if there is one.
fn refusal(command: &Command, key: &str) -> String {
    if COMMAND_LINE_ONLY.contains(&key) {
        return format!("{key} belongs on the command line: --{key}");
    }
    let settings = command.get_arguments().filter_map(Arg::get_long);
    let settings = settings.filter(|name| !COMMAND_LINE_ONLY.contains(name));
    let similarity = |name: &str| strsim::jaro_winkler(&key.replace('_', "-"), name);
    let nearest = settings
        .chain([FILES])
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|name| similarity(name) >= LEAST_SIMILARITY);
    match nearest {
        Some(nearest) => format!("unknown setting {key}; did you mean {nearest}?"),
        None => format!(
            "unknown setting {key}; settings are the flags of gradprobe check without their \
             dashes, and {FILES}"
        ),
    }
}

/// Returns a key and its value as words, or the values that the key takes.
fn to_words(
    arg: &Arg,
    key: &str,
    item: &Item,
    folder: &Path,
) -> std::result::Result<Vec<OsString>, &'static str> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let texts = item.as_value().and_then(|value| match value {
        Value::Array(values) if is_list => values.iter().map(scalar).collect(),
        value => scalar(value).map(|text| vec![text]),
    });
    let texts = texts.ok_or(if is_list {
        "it must be a string or a list of strings"
    } else {
        "it must be a string, a number, true or false"
    })?;
    // A path is relative to the file's folder, whatever the current folder is; "-" is stdout.
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let resolve = |text: String| -> OsString {
        let is_model = key == "model" && text.ends_with(".json");
        if is_model || (is_path && text != "-") {
            folder.join(text).into()
        } else {
            text.into()
        }
    };
    if key == FILES {
        return Ok(texts.into_iter().map(resolve).collect());
    }
    let mut word = OsString::from(format!("--{key}="));
    word.push(resolve(texts.join(",")));
    Ok(vec![word])
}

/// Returns a value that is no list and no table as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(flag) => Some(flag.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}
