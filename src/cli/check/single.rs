//! The check of a single file.

use indicatif::HumanCount;

use super::{arguments::name, command::CheckCommand};
use crate::{
    check::Listener,
    cli::{
        interrupts::{INTERRUPTED, Interrupts},
        outputs::Outputs,
        progress::Progress,
        remote::Remote,
    },
    error::Result,
    io::Source,
};

impl CheckCommand {
    /// Checks a file on this machine.
    ///
    /// # Errors
    /// Any error that keeps the check from running, or a result from being written.
    pub(super) fn run_local(&self, source: &Source) -> Result<u8> {
        let arguments = &self.arguments;
        let case = arguments.load(source)?;
        let device = case.device(|| arguments.device())?;
        let outputs = Outputs::open(&arguments.output)?;
        let numeric = arguments.numeric_file(&case)?;
        let has_bar = !arguments.is_quiet();
        let mut progress = Progress::new(has_bar, numeric, Interrupts::listen());
        let mut report = case.check(&arguments.options(), &device, &mut progress)?;
        report.command = Some(self.repeat());
        progress.finish()?;
        let runs = [arguments.to_run(source, &case, report)?];
        // The report comes first: it must not be lost if a failure cannot be saved.
        outputs.deliver(&runs)?;
        let [run] = &runs;
        self.save_failures(&case, run, &device)?;
        Ok(self.exit_code(&runs))
    }

    /// Checks a file at a service.
    ///
    /// # Errors
    /// Those of [`Remote::check`], or an error that keeps a result from being written.
    pub(super) fn run_remote(&self, source: &Source, remote: &Remote) -> Result<u8> {
        let outputs = Outputs::open(&self.arguments.output)?;
        let interrupts = Interrupts::listen();
        let has_bar = !self.arguments.is_quiet();
        let mut progress = Progress::new(has_bar, None, interrupts.clone());
        let name = name(source);
        let mut has_begun = false;
        let mut follow = |done, all| {
            if !std::mem::replace(&mut has_begun, true) {
                progress.start(&name, format!("{} entries", HumanCount(all)));
            }
            progress.progress(done, all);
        };
        let checked = remote.check(&name, &interrupts, &mut follow);
        progress.finish()?;
        let Some(mut run) = checked? else {
            return Ok(INTERRUPTED);
        };
        if let Ok(report) = &mut run.outcome {
            report.command = Some(self.repeat());
        }
        let runs = [run];
        outputs.deliver(&runs)?;
        Ok(self.exit_code(&runs))
    }
}
