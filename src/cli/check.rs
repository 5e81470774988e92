//! `gradprobe check`: reads one file or several, checks each, and delivers the report.

use std::{ffi::OsString, path::Path};

use super::remote::Remote;
use crate::{error::Result, io};

mod arguments;
mod command;
mod failures;
mod part;
mod parts;
mod several;
mod single;

pub(super) use arguments::CheckArguments;
use command::CheckCommand;
pub(super) use parts::{case, deliver};

/// Runs the command. `words` is the command line, starting with the program's name. `settings`
/// holds the names and values that a service needs.
///
/// # Errors
/// Any error that keeps the check from running, or a result from being written.
pub(super) fn run(
    mut arguments: CheckArguments,
    words: Vec<OsString>,
    mut settings: Vec<(String, String)>,
) -> Result<u8> {
    if let Some(model) = &mut arguments.settings.model {
        // A service gets the model itself.
        if Path::new(&*model)
            .extension()
            .is_some_and(|it| it == "json")
        {
            *model = io::read_text(Path::new(&*model))?;
        }
        for (_, value) in settings.iter_mut().filter(|(name, _)| name == "model") {
            value.clone_from(model);
        }
    }
    let words = words.into_iter().skip(1).collect();
    let command = CheckCommand::new(arguments, words, settings.clone());
    let arguments = &command.arguments;
    if let Some(index) = &arguments.parts.index {
        return command.run_index(index);
    }
    let sources = arguments.inputs.sources()?;
    for source in &sources {
        command.require_distinct(source)?;
    }
    let remote = Remote::new(&arguments.remote, settings, arguments.output.html.is_some())?;
    match (sources.as_slice(), remote) {
        ([source], Some(remote)) => command.run_remote(source, &remote),
        ([source], None) => command.run_local(source),
        (sources, remote) => command.run_several(sources, remote.as_ref()),
    }
}
