//! `gradprobe merge`: the report on a case that was checked in parts.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::{
    SUCCESS,
    check::{case, deliver},
    index::INDEX,
    inputs::matches,
    outputs::{OutputArguments, Outputs},
};
use crate::{device::Device, error::Result, io, parts::Partial, settings::Settings};

#[derive(Args)]
pub(super) struct MergeArguments {
    /// Results of gradprobe check --part, or quoted patterns
    #[arg(value_name = "PART.json", required = true)]
    parts: Vec<PathBuf>,
    /// The index that the parts were checked with
    #[arg(long, value_name = "FILE.json", default_value = INDEX)]
    index: PathBuf,

    #[command(flatten)]
    output: OutputArguments,
}

impl MergeArguments {
    pub(super) fn is_quiet(&self) -> bool {
        self.output.quiet
    }

    pub(super) fn run(self) -> Result<u8> {
        let outputs = Outputs::open(&self.output)?;
        let mut parts = Vec::new();
        for path in &self.parts {
            parts.extend(matches(path)?);
        }
        let mut parts = parts
            .iter()
            .map(|path| Partial::from_json(&io::read_text(path)?, path));
        let Some(first) = parts.next() else {
            return Ok(SUCCESS);
        };
        let merged = parts.try_fold(first?, |merged, part| merged.merge(part?))?;
        let settings = Settings::parse(&merged.settings)?;
        let memory = ByteSize::gib(1).as_u64();
        let case = case(&self.index, &settings, memory)?;
        let device = Device::select("cpu")?;
        let allow_inconclusive = self.output.allow_inconclusive;
        let named = (self.index.as_path(), None);
        deliver(&case, merged, &device, named, outputs, allow_inconclusive)
    }
}
