//! `--save-failures`: the smallest example of each failure.

use std::path::Path;

use super::command::CheckCommand;
use crate::{
    case::Case,
    check,
    device::Device,
    error::{Error, Result},
    io::{self, Content, Inputs, Source},
    network::Network,
    output::Run,
    report::{Check, Verdict},
};

impl CheckCommand {
    /// Saves a file for each gradient that failed, and prints the command that checks the file. The
    /// file has the fewest rows that show the failure, or all rows if no part of them shows it.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, and those of [`check::smallest`].
    pub(super) fn save_failures(&self, case: &Case, run: &Run, device: &Device) -> Result<()> {
        let folder = self.arguments.save_failures.as_ref();
        let (Some(folder), Ok(report)) = (folder, &run.outcome) else {
            return Ok(());
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let file = run.name.replace(|c| !is_plain(c), "_");
        let failed = |check: &&Check| check.verdict == Verdict::Fail;
        for check in report.checks.iter().filter(failed) {
            let path = folder.join(format!("{file}-{}.safetensors", check.name()));
            std::fs::create_dir_all(folder).map_err(Error::io("write", folder))?;
            let saved = match &case.content {
                Content::Layer(inputs) => self.save_rows(&path, inputs, check, device)?,
                Content::Network(network) => save_layer(&path, network, check)?,
            };
            if let Some(saved) = saved {
                let command = self.repeat_for(&Source::File(path));
                tracing::warn!("{}: the same failure in {saved}: {command}", check.name());
            }
        }
        Ok(())
    }

    /// Saves the fewest rows that show a failure, and returns their number in words. Saves none of
    /// gradprobe's own gradients.
    fn save_rows(
        &self,
        path: &Path,
        inputs: &Inputs,
        check: &Check,
        device: &Device,
    ) -> Result<Option<String>> {
        let mut subjects = inputs.subjects.iter();
        let subject = subjects.find(|it| it.wrt == check.wrt && it.gradient.is_some());
        let Some(subject) = subject else {
            return Ok(None);
        };
        let options = self.arguments.options();
        let smallest = check::smallest(&inputs.problem, subject, check, &options, device)?;
        let (problem, subject) = match &smallest {
            Some(smallest) => (&smallest.problem, &smallest.subject),
            None => (&inputs.problem, subject),
        };
        io::save(path, problem, subject)?;
        Ok(Some(match problem.n() {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        }))
    }
}

/// Saves the layer that fails, as a network of its own, and returns its functions.
fn save_layer(path: &Path, network: &Network, check: &Check) -> Result<Option<String>> {
    let mut tested = network.tested().into_iter();
    let Some(tested) = tested.find(|it| it.name == check.name()) else {
        return Ok(None);
    };
    let (model, tensors) = network.alone(tested);
    io::save_network(path, &model, &tensors, network.dtype())?;
    Ok(Some(model.functions()))
}
