//! `gradprobe index`: names the files of one case.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanCount;

use super::{SUCCESS, inputs::expand, stdout::print};
use crate::{error::Result, parts::Index, settings::LossSettings};

/// The name of an index, unless another is given.
pub(super) const INDEX: &str = "gradprobe.index.json";

/// Returns the index that the only file holds, or names the files as those of one case.
///
/// # Errors
/// Those of [`Index::read`] and [`Index::of_files`], and a usage error if a folder or a pattern
/// yields no file.
pub fn read_or_name(files: &[PathBuf], shared: Option<PathBuf>) -> Result<Index> {
    if let [file] = files {
        let text = file.to_string_lossy();
        if text.ends_with(".json") && !text.ends_with(".safetensors.index.json") {
            return Index::read(file);
        }
    }
    name(files, shared)
}

/// Names the files, and those that folders and patterns yield, as those of one case.
fn name(paths: &[PathBuf], shared: Option<PathBuf>) -> Result<Index> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(expand(path)?);
    }
    files.retain(|file| shared.as_ref() != Some(file));
    Index::of_files(files, shared)
}

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
        let mut index = name(&self.files, self.shared)?;
        index.summarize(&self.loss.request(None))?;
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
