//! The command line: arguments in, report out, exit code back.
//!
//! Exit codes: 0 pass, 1 fail or inconclusive, 2 could not run, 130 interrupted. The modules here
//! parse, open files and print; everything they print is computed by the library.

use std::ffi::OsString;

use crate::{demo, error::Result};

mod arguments;
mod bench;
mod check;
mod config;
mod destination;
mod devices;
mod index;
mod inputs;
mod interrupts;
mod log;
mod manual;
mod merge;
mod outputs;
mod progress;
#[cfg(feature = "remote")]
mod remote;
#[cfg(not(feature = "remote"))]
#[path = "cli/remote/absent.rs"]
mod remote;
#[cfg(feature = "serve")]
mod serve;
mod stdout;
mod sweep;
#[cfg(any(feature = "serve", feature = "remote"))]
mod token;
mod values;

#[cfg(feature = "remote")]
pub use remote::check_by_service;

pub use index::read_or_name as index;

use arguments::Command;
use config::CommandLine;
use stdout::print;

/// The exit code of a program that did its job.
const SUCCESS: u8 = 0;

/// Runs the program with these arguments, the first of which is its name. Returns its exit code.
///
/// # Errors
/// Any error that prevents the program from running. The caller prints it and exits with 2.
pub fn run(arguments: Vec<OsString>) -> Result<u8> {
    let CommandLine {
        arguments,
        words,
        settings,
        note,
    } = config::command_line(arguments)?;
    let quiet = match &arguments.command {
        Command::Check(check) => check.is_quiet(),
        Command::Merge(merge) => merge.is_quiet(),
        _ => false,
    };
    log::start(arguments.verbose, quiet);
    if let Some(note) = note {
        tracing::info!("{note}");
    }
    match arguments.command {
        Command::Check(arguments) => return check::run(*arguments, words, settings),
        Command::Index(arguments) => return arguments.run(),
        Command::Merge(arguments) => return arguments.run(),
        Command::Sweep(arguments) => return arguments.run(),
        Command::Bench(arguments) => return arguments.run(),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => return arguments.run(),
        #[cfg(not(feature = "serve"))]
        Command::Serve { .. } => return Err(crate::error::Error::Usage(NO_SERVICE.to_owned())),
        Command::Demo => print(&demo::run()?)?,
        Command::Devices => print(&devices::list())?,
        Command::Completions { shell } => print(&manual::completions(shell))?,
        Command::Man => print(&manual::manual())?,
    }
    Ok(SUCCESS)
}

#[cfg(not(feature = "serve"))]
const NO_SERVICE: &str =
    "this build of gradprobe has no serve command; build it with --features serve";
