//! What the commands that read a problem read, and what overrides or completes it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    error::{Error, Result},
    io::Source,
};

/// What is checked: shared by the commands that read a problem.
#[derive(Args)]
pub(super) struct InputArguments {
    /// .safetensors or .npz files, folders of them, or patterns such as 'cases/*.npz'. Each has input [n,d], weight [k,d], target ([n] classes or
    /// [n,k] probabilities), and optionally bias [k], class_weight [k], and the gradients: grad [n,d] (of the input), grad_logits [n,k],
    /// grad_weight [k,d], grad_bias [k]
    #[arg(value_name = "FILE", conflicts_with_all = ["input", "weight", "bias", "target", "class_weight", "grad", "grad_logits", "grad_weight", "grad_bias"])]
    pub(super) files: Vec<PathBuf>,
    /// The input [n,d] as an .npy file
    #[arg(long, value_name = "F", requires_all = ["weight", "target"], help_heading = "Single .npy files")]
    input: Option<PathBuf>,
    /// The weight [k,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    weight: Option<PathBuf>,
    /// The bias [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    bias: Option<PathBuf>,
    /// The target, [n] classes or [n,k] probabilities, as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    target: Option<PathBuf>,
    /// The class weights [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    class_weight: Option<PathBuf>,
    /// The gradient of the input [n,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad: Option<PathBuf>,
    /// The gradient of the logits [n,k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_logits: Option<PathBuf>,
    /// The gradient of the weight [k,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_weight: Option<PathBuf>,
    /// The gradient of the bias [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_bias: Option<PathBuf>,

    /// What stands for flags that are not given: this file, in place of the nearest gradprobe.toml, in this folder or above
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

impl InputArguments {
    /// What is to be read: every file that was named, in a folder or by a pattern too, or the single .npy files together.
    ///
    /// # Errors
    /// [`Error::Usage`] where nothing was named, [`Error::Setting`] for a folder or a pattern without a file.
    pub(super) fn sources(&self) -> Result<Vec<Source>> {
        if self.input.is_some() {
            return Ok(vec![self.separate()]);
        }
        if self.files.is_empty() {
            return Err(Error::Usage(
                "there is nothing to check: name .safetensors or .npz files, folders of them or patterns, or give --input, --weight and --target"
                    .to_owned(),
            ));
        }
        let mut files = Vec::new();
        for path in &self.files {
            files.extend(expand(path)?);
        }
        Ok(files.into_iter().map(Source::File).collect())
    }

    fn separate(&self) -> Source {
        let files = [
            ("input", &self.input),
            ("weight", &self.weight),
            ("bias", &self.bias),
            ("target", &self.target),
            ("class_weight", &self.class_weight),
            ("grad", &self.grad),
            ("grad_logits", &self.grad_logits),
            ("grad_weight", &self.grad_weight),
            ("grad_bias", &self.grad_bias),
        ];
        Source::Separate(
            files
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.clone()?)))
                .collect(),
        )
    }
}

/// The ends of the names of files that hold a case.
const ENDS: [&str; 2] = ["safetensors", "npz"];

/// The files of a folder and of those in it, or those that a pattern matches, by name; else the path itself.
fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let nothing = |expected: &str| Error::Setting {
        name: "FILE",
        found: path.display().to_string(),
        expected: expected.to_owned(),
    };
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        return if files.is_empty() {
            Err(nothing("that folder holds no .safetensors or .npz file"))
        } else {
            Ok(files)
        };
    }
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let matches = glob::glob(&text).map_err(|error| nothing(&format!("no pattern: {error}")))?;
    // What cannot be looked into has no file that could be read.
    let files: Vec<PathBuf> = matches.filter_map(std::result::Result::ok).collect();
    if files.is_empty() {
        Err(nothing("no file matches"))
    } else {
        Ok(files)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |source| Error::io("read", folder)(source);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if kind.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| ENDS.iter().any(|it| end == *it))
        {
            files.push(path);
        }
    }
    Ok(())
}
