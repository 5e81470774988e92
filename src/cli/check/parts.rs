//! The check of a case in many files, or of a part of it.

use std::path::{Path, PathBuf};

use clap::Args;
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

/// The heading of these flags in the help.
const HEADING: &str = "One case in many files";

/// The flags on a case in many files.
#[derive(Args)]
pub(in crate::cli) struct PartArguments {
    /// Check the files of an index as one case
    ///
    /// The loss is then taken over the samples of all files. gradprobe index writes the file; a
    /// folder or a quoted pattern does too.
    #[arg(long, help_heading = HEADING, value_name = "FILE.json", conflicts_with = "files")]
    pub(super) index: Option<PathBuf>,
    /// Check part P of N, and write the result for gradprobe merge
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "P/N",
        requires_all = ["index", "out"],
        value_parser = part
    )]
    pub(super) part: Option<(usize, usize)>,
    /// File for the result of the part
    #[arg(long, help_heading = HEADING, value_name = "FILE.json", requires = "part")]
    pub(super) out: Option<PathBuf>,
}

/// Parses the number of a part and the number of parts.
fn part(text: &str) -> std::result::Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, of)| {
        let (part, of) = (part.parse().ok()?, of.parse().ok()?);
        (part >= 1 && part <= of).then_some((part, of))
    });
    numbers.ok_or_else(|| "it must be P/N with 1 <= P <= N, such as 3/8".to_owned())
}

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
