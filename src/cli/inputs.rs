//! The files that `check` and `sweep` read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::{
    error::{Error, Result},
    io::{self, Source, url},
};

/// The arguments that name the files to read.
#[derive(Args)]
pub(super) struct InputArguments {
    /// .safetensors or .npz files, folders, or quoted patterns such as 'cases/*.npz'
    ///
    /// A folder selects all .safetensors and .npz files in it and below. Addresses such as
    /// s3://bucket/case.safetensors are read too; docs/clusters.md tells how. Each file holds
    ///
    ///   input   [n, d]
    ///   weight  [k, d], or [d, k]
    ///   target  [n] class indices, or [n, k] class probabilities
    ///
    /// or logits [n, k] instead of input and weight; optionally bias [k], class_weight [k] and
    /// sample_weight [n], an upstream gradient; and the gradients to check:
    ///
    ///   grad         [n, d], with respect to the input
    ///   grad_logits  [n, k]
    ///   grad_weight  as weight
    ///   grad_bias    [k]
    ///
    /// n may be several axes, as in [batch, sequence, d]; logits [n, k, h, w] have their classes on
    /// axis 1. docs/arrays.md lists all forms.
    #[arg(id = FILES, value_name = "FILE", verbatim_doc_comment)]
    pub(super) files: Vec<PathBuf>,

    #[command(flatten)]
    npy_files: NpyFiles,

    /// Settings file [default: the nearest gradprobe.toml]
    ///
    /// Without this flag, the file is looked for in the current folder, and then in its parents.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

impl InputArguments {
    /// Returns the problems to read: one per file, or a single one for all .npy files.
    ///
    /// # Errors
    /// [`Error::Usage`] if no file is named, or a folder or a pattern yields none.
    pub(super) fn sources(&self) -> Result<Vec<Source>> {
        if !self.npy_files.0.is_empty() {
            return Ok(vec![Source::Separate(self.npy_files.0.clone())]);
        }
        if self.files.is_empty() {
            return Err(Error::Usage(
                "no files to check: name .safetensors or .npz files, folders of them or patterns, \
                 or pass --input, --weight and --target, or --logits and --target"
                    .to_owned(),
            ));
        }
        let mut files = Vec::new();
        for path in &self.files {
            files.extend(expand(path)?);
        }
        Ok(files.into_iter().map(Source::File).collect())
    }
}

/// The tensors that can be read from .npy files: name, flag and description.
const TENSORS: [(&str, &str, &str); 11] = [
    ("input", "input", "Input [n, d]"),
    ("weight", "weight", "Weight [k, d], or [d, k]"),
    ("bias", "bias", "Bias [k]"),
    (
        "logits",
        "logits",
        "Logits [n, k], without input and weight",
    ),
    ("target", "target", "Target [n], or probabilities [n, k]"),
    ("class_weight", "class-weight", "Class weights [k]"),
    (
        "sample_weight",
        "sample-weight",
        "Sample weights [n], an upstream gradient",
    ),
    ("grad", "grad", "Gradient of input [n, d]"),
    ("grad_logits", "grad-logits", "Gradient of logits [n, k]"),
    ("grad_weight", "grad-weight", "Gradient of weight [k, d]"),
    ("grad_bias", "grad-bias", "Gradient of bias [k]"),
];

/// The heading of these flags in the help.
const HEADING: &str = "Tensors as .npy files, instead of FILE";
/// The id of the flag that names any tensor, for clap.
const TENSOR: &str = "tensor";
/// The id of the flags that name a tensor with one row per sample, for clap.
const SAMPLES: &str = "samples";
/// The id of the positional arguments, for clap.
const FILES: &str = "files";

/// One .npy file per tensor, by the tensor's name: `--input`, `--grad-logits` and so on, and
/// `--tensor` for any.
struct NpyFiles(BTreeMap<String, PathBuf>);

impl Args for NpyFiles {
    fn augment_args(command: Command) -> Command {
        let flags = TENSORS.map(|(name, flag, description)| {
            let flag = Arg::new(name)
                .long(flag)
                .help(description)
                .help_heading(HEADING)
                .value_name("FILE.npy")
                .conflicts_with(FILES)
                .value_parser(value_parser!(PathBuf));
            match name {
                "input" => flag,
                "logits" => flag.conflicts_with_all(["input", "weight"]),
                _ => flag.requires(SAMPLES),
            }
        });
        let any = Arg::new(TENSOR)
            .long(TENSOR)
            .help("Any tensor, such as fc1.weight=w.npy of a network")
            .help_heading(HEADING)
            .value_name("NAME=FILE.npy")
            .action(ArgAction::Append)
            .conflicts_with(FILES)
            .value_parser(named);
        let samples = ArgGroup::new(SAMPLES)
            .args(["input", "logits", TENSOR])
            .multiple(true);
        command.args(flags).arg(any).group(samples)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NpyFiles {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let path = |(name, ..): (&str, _, _)| {
            Some((name.to_owned(), matches.get_one::<PathBuf>(name)?.clone()))
        };
        let mut paths: BTreeMap<String, PathBuf> = TENSORS.into_iter().filter_map(path).collect();
        let named = matches.get_many::<(String, PathBuf)>(TENSOR);
        paths.extend(named.into_iter().flatten().cloned());
        Ok(Self(paths))
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Parses the name of a tensor and its file.
fn named(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() || file.is_empty() {
        return Err("it must be NAME=FILE.npy".to_owned());
    }
    Ok((name.to_owned(), file.into()))
}

/// The extensions that are looked for in a folder.
const EXTENSIONS: [&str; 2] = ["safetensors", "npz"];

/// Returns the files in a folder and below it, or those that a pattern matches, sorted. Any other
/// path is returned as it is. All may be addresses of objects in a store.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |reason: &str| Error::Usage(format!("{}: {reason}", path.display()));
    if url::is_url(path) {
        return io::list(path, &EXTENSIONS);
    }
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        return if files.is_empty() {
            Err(failed("the folder holds no .safetensors and no .npz file"))
        } else {
            Ok(files)
        };
    }
    matches(path)
}

/// Returns the files that a pattern matches, sorted. Any other path is returned as it is.
pub(super) fn matches(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |reason: &str| Error::Usage(format!("{}: {reason}", path.display()));
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let matches = glob::glob(&text);
    let matches = matches.map_err(|error| {
        let (position, reason) = (error.pos, error.msg);
        failed(&format!("invalid pattern at position {position}: {reason}"))
    })?;
    // A folder that cannot be opened has no file that could be read.
    let files: Vec<PathBuf> = matches.filter_map(std::result::Result::ok).collect();
    if files.is_empty() {
        Err(failed("no file matches the pattern"))
    } else {
        Ok(files)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |source| Error::io("read", folder)(source);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let is_input = || {
            let extension = path.extension();
            extension.is_some_and(|extension| EXTENSIONS.iter().any(|it| extension == *it))
        };
        if kind.is_dir() {
            collect(&path, files)?;
        } else if is_input() {
            files.push(path);
        }
    }
    Ok(())
}
