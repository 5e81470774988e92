//! `gradprobe index`: names the files of one case.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;

use super::{SUCCESS, check::INDEX, inputs::expand, stdout::print};
use crate::{error::Result, parts::Index, settings::LossSettings};

#[derive(Args)]
pub(super) struct IndexArguments {
    /// Files, folders, or quoted patterns such as 'run/step-*.safetensors', in the order of their
    /// rows
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File of the tensors that all files share: weight and bias, and their gradients
    #[arg(long, value_name = "FILE")]
    shared: Option<PathBuf>,
    /// Name of the index
    #[arg(long, value_name = "FILE.json", default_value = INDEX)]
    out: PathBuf,

    #[command(flatten)]
    loss: LossSettings,
}

impl IndexArguments {
    pub(super) fn run(self) -> Result<u8> {
        let mut files = Vec::new();
        for path in &self.files {
            files.extend(expand(path)?);
        }
        let is_shared = |file: &PathBuf| self.shared.as_ref() == Some(file);
        files.retain(|file| !is_shared(file));
        let index = Index::of_files(files, self.shared, &self.loss.request(None))?;
        index.write(&self.out)?;
        let rows: usize = index.files.iter().map(|file| file.rows).sum();
        let (files, rows) = (
            HumanCount(index.files.len() as u64),
            HumanCount(rows as u64),
        );
        print(&format!(
            "{}: {rows} rows in {files} files\n",
            self.out.display()
        ))?;
        Ok(SUCCESS)
    }
}
