//! `--save-failures`: the smallest example of each failure.

use std::path::Path;

use super::command::CheckCommand;
use crate::{
    check,
    device::Device,
    error::{Error, Result},
    io::{self, Inputs, Source},
    output::Run,
    report::{Check, Verdict},
};

impl CheckCommand {
    /// Saves a file for each gradient that failed, and prints the command that checks the file. The
    /// file has the fewest rows that show the failure, or all rows if no part of them shows it.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, and those of [`check::smallest`].
    pub(super) fn save_failures(&self, inputs: &Inputs, run: &Run, device: &Device) -> Result<()> {
        let folder = self.arguments.save_failures.as_ref();
        let (Some(folder), Ok(report)) = (folder, &run.outcome) else {
            return Ok(());
        };
        let failed = |check: &&Check| check.verdict == Verdict::Fail;
        for check in report.checks.iter().filter(failed) {
            self.save_failure(folder, inputs, &run.name, check, device)?;
        }
        Ok(())
    }

    fn save_failure(
        &self,
        folder: &Path,
        inputs: &Inputs,
        file: &str,
        check: &Check,
        device: &Device,
    ) -> Result<()> {
        let mut subjects = inputs.subjects.iter();
        let subject = subjects.find(|it| it.wrt == check.wrt && it.gradient.is_some());
        let Some(subject) = subject else {
            return Ok(());
        };
        std::fs::create_dir_all(folder).map_err(Error::io("write", folder))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let file = file.replace(|c| !is_plain(c), "_");
        let gradient = check.wrt.grad_name();
        let path = folder.join(format!("{file}-{gradient}.safetensors"));
        let options = self.arguments.options();
        let smallest = check::smallest(&inputs.problem, subject, check, &options, device)?;
        let (problem, subject) = match &smallest {
            Some(smallest) => (&smallest.problem, &smallest.subject),
            None => (&inputs.problem, subject),
        };
        io::save(&path, problem, subject)?;
        let rows = match problem.n() {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        let command = self.repeat_for(&Source::File(path));
        tracing::warn!("{gradient}: the same failure in {rows}: {command}");
        Ok(())
    }
}
