//! The check of a case in many files, or of a part of it.

use std::path::Path;

use indicatif::HumanCount;

use super::command::CheckCommand;
use crate::{
    check::Listener,
    cli::{
        SUCCESS,
        inputs::expand,
        interrupts::{INTERRUPTED, Interrupts},
        outputs::Outputs,
        progress::Progress,
        stdout::print,
    },
    error::{Error, Result},
    io::{OutputFile, Request},
    output::Run,
    parts::{Case, Index, Partial},
    settings::Settings,
};

/// Reads an index; of a folder or a pattern, indexes the files.
///
/// # Errors
/// Those of [`Index::read`] and [`Index::of_files`].
pub(in crate::cli) fn index(path: &Path, request: &Request) -> Result<Index> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return Index::read(path);
    }
    Index::of_files(expand(path)?, None, request)
}

/// Returns a case with the settings of a check.
///
/// # Errors
/// Those of [`Case::new`].
pub(in crate::cli) fn case(index: Index, settings: &Settings, memory: u64) -> Result<Case> {
    let request = settings.loss.request(Some(memory));
    Case::new(index, request, settings.options(false))
}

/// The name of an index, unless another is given.
pub(in crate::cli) const INDEX: &str = "gradprobe.index.json";

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
        let request = arguments.settings.loss.request(Some(memory));
        let case = case(index(path, &request)?, &arguments.settings, memory)?;
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
        self.deliver(&case, partial, &device, outputs, path)
    }

    fn deliver(
        &self,
        case: &Case,
        partial: Partial,
        device: &crate::device::Device,
        outputs: Outputs,
        path: &Path,
    ) -> Result<u8> {
        if partial.units.is_empty() {
            return Ok(INTERRUPTED);
        }
        let mut report = case.finish(partial, device)?;
        report.command = Some(self.repeat());
        for note in &report.notes {
            tracing::warn!("{note}");
        }
        let runs = [Run::new(path.display().to_string(), report, Vec::new())];
        outputs.deliver(&runs)?;
        Ok(self.exit_code(&runs))
    }
}
