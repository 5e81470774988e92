//! The check of a case in many files, or of a part of it.

use std::path::Path;

use indicatif::HumanCount;

use super::command::{CheckCommand, exit_code};
use crate::{
    check::Listener,
    cli::{
        SUCCESS, index,
        interrupts::{INTERRUPTED, Interrupts},
        outputs::Outputs,
        progress::Progress,
        stdout::print,
    },
    device::Device,
    error::{Error, Result},
    io::OutputFile,
    output::Run,
    parts::{Case, Partial},
    settings::Settings,
};

/// Returns the case of an index, a folder or a pattern, with the settings of a check.
///
/// # Errors
/// Those of [`index::read_or_name`] and [`Case::new`].
pub(in crate::cli) fn case(path: &Path, settings: &Settings, memory: u64) -> Result<Case> {
    let index = index::read_or_name(&[path.to_owned()], None)?;
    let request = settings.loss.request(Some(memory));
    Case::new(index, request, settings.options(false))
}

/// Writes the report on a partial to all outputs. Returns the exit code.
///
/// # Errors
/// Those of [`Case::finish`], or an error that keeps a result from being written.
pub(in crate::cli) fn deliver(
    case: &Case,
    partial: Partial,
    device: &Device,
    (name, command): (&Path, Option<String>),
    outputs: Outputs,
    allow_inconclusive: bool,
) -> Result<u8> {
    let mut report = case.finish(partial, device)?;
    report.command = command;
    for note in &report.notes {
        tracing::warn!("{note}");
    }
    let runs = [Run::new(name.display().to_string(), report, Vec::new())];
    outputs.deliver(&runs)?;
    Ok(exit_code(&runs, allow_inconclusive))
}

impl CheckCommand {
    /// Checks all units of an index, or those of one part.
    ///
    /// # Errors
    /// Any error that keeps the check from running, or a result from being written.
    pub(super) fn run_index(&self, path: &Path) -> Result<u8> {
        let arguments = &self.arguments;
        if arguments.numeric.is_some() || arguments.save_failures.is_some() {
            let message = "--numeric and --save-failures need a file, not an index";
            return Err(Error::Usage(message.to_owned()));
        }
        let memory = arguments.memory();
        let case = case(path, &arguments.settings, memory)?;
        let case = case.with_settings(self.settings.clone());
        let device = arguments.device()?;
        let (units, out) = match (arguments.parts.part, &arguments.parts.out) {
            (Some((part, of)), Some(out)) => (case.part(part, of), Some(OutputFile::create(out)?)),
            _ => (0..case.units(), None),
        };
        let outputs = match out {
            Some(_) => None,
            None => Some(Outputs::open(&arguments.output)?),
        };
        let interrupts = Interrupts::listen();
        let has_bar = !arguments.is_quiet();
        let mut progress = Progress::new(has_bar, None, interrupts.clone());
        let rows = HumanCount(case.rows() as u64);
        progress.start(&path.display().to_string(), format!("{rows} rows"));
        let wanted = units.len();
        let partial = case.run(units, &device, &mut progress)?;
        progress.finish()?;
        if let Some(mut out) = out {
            let done = partial.units.len();
            out.write(partial.to_json().as_bytes())?;
            out.finish()?;
            if !arguments.is_quiet() {
                let (rows, wrong) = (partial.rows.len() as u64, partial.wrong());
                let (rows, wrong) = (HumanCount(rows), HumanCount(wrong));
                print(&format!("{rows} rows checked, {wrong} entries wrong\n"))?;
            }
            if interrupts.is_interrupted() {
                tracing::warn!("interrupted: {done} of {wanted} units are in the part");
                return Ok(INTERRUPTED);
            }
            return Ok(SUCCESS);
        }
        let Some(outputs) = outputs else {
            return Ok(SUCCESS);
        };
        if partial.units.is_empty() {
            return Ok(INTERRUPTED);
        }
        let named = (path, Some(self.repeat()));
        let allow_inconclusive = arguments.output.allow_inconclusive;
        deliver(&case, partial, &device, named, outputs, allow_inconclusive)
    }
}
