//! `gradprobe merge`: the report on a case that was checked in parts.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::{
    SUCCESS,
    check::{case, exit_code, index},
    inputs::matches,
    outputs::{OutputArguments, Outputs},
};
use crate::{
    device::Device,
    error::{Error, Result},
    output::Run,
    parts::Partial,
    settings::Settings,
};

#[derive(Args)]
pub(super) struct MergeArguments {
    /// Results of gradprobe check --part, or quoted patterns
    #[arg(value_name = "PART.json", required = true)]
    parts: Vec<PathBuf>,
    /// The index that the parts were checked with
    #[arg(long, value_name = "FILE.json", default_value = "gradprobe.index.json")]
    index: PathBuf,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: OutputArguments,
}

impl MergeArguments {
    pub(super) fn is_quiet(&self) -> bool {
        self.output.quiet
    }

    pub(super) fn run(self) -> Result<u8> {
        let memory = ByteSize::gib(1).as_u64();
        let request = self.settings.loss.request(Some(memory));
        let case = case(index(&self.index, &request)?, &self.settings, memory)?;
        let outputs = Outputs::open(&self.output)?;
        let mut merged: Option<Partial> = None;
        for path in &self.parts {
            for path in matches(path)? {
                let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                let partial = Partial::from_json(&text, &path)?;
                merged = Some(match merged {
                    None => partial,
                    Some(merged) => merged.merge(partial)?,
                });
            }
        }
        let Some(merged) = merged else {
            return Ok(SUCCESS);
        };
        let report = case.finish(merged, &Device::select("cpu")?)?;
        for note in &report.notes {
            tracing::warn!("{note}");
        }
        let name = self.index.display().to_string();
        let runs = [Run::new(name, report, Vec::new())];
        outputs.deliver(&runs)?;
        Ok(exit_code(&runs, self.output.allow_inconclusive))
    }
}
