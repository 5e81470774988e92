//! Files in and out: safetensors, npz and npy, mapped where they can be; results written whole or not at all.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    check::Subject,
    error::{Error, Result, list, short},
    loss::{CrossEntropy, IGNORE_INDEX, Reduction},
    problem::{Problem, Wrt},
    tensor::{Bytes, Tensor},
};

mod bytes;
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod output_file;
mod safetensors;
mod save;

pub(crate) use bytes::regular;
pub use output_file::{NumericFile, OutputFile};
pub use save::save;

use bytes::Budget;

/// A problem and the gradients to check, as they came from files.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What is differentiated.
    pub problem: Problem,
    /// The gradients under test.
    pub subjects: Vec<Subject>,
    /// What of the files is left out, and why, in sentences.
    pub notes: Vec<String>,
}

/// Where the tensors of a case lie.
#[derive(Clone)]
pub enum Source {
    /// All in one .safetensors or .npz file, by name.
    File(PathBuf),
    /// The same in memory, of a file that would have that name.
    Bytes(PathBuf, Bytes),
    /// Each in an .npy file of its own, under the name that it would have in one file.
    Separate(BTreeMap<&'static str, PathBuf>),
}

/// What overrides or completes what the files say.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The gradients to check; none for every gradient that is there, or else the input's.
    pub wrt: Vec<Wrt>,
    /// The loss's reduction; none for the file's, or else the mean.
    pub reduction: Option<Reduction>,
    /// The target that marks samples which do not count; none for the file's, or else PyTorch's default.
    pub ignore_index: Option<i64>,
    /// The share of the target that is spread over all classes; none for the file's, or else 0.
    pub label_smoothing: Option<f64>,
    /// What the arrays may take in memory beside the weights, in bytes; none for [`MEMORY`].
    pub memory: Option<usize>,
    /// What a compressed array may unpack to, in bytes; none for any size.
    pub unpacked: Option<usize>,
    /// The rows of the input to be read here, to see that they are finite; none for all. A random draw is read by the check.
    pub rows: Option<Range<usize>>,
}

/// What a check takes in memory beside the weights unless it is told otherwise, in bytes: 1 GiB.
pub const MEMORY: usize = 1 << 30;

/// A file of named tensors.
trait Archive {
    fn names(&self) -> Vec<String>;
    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>>;
    /// A string or number that came with the tensors.
    fn setting(&mut self, name: &str) -> Option<String>;
}

/// What a file may hold beside gradients; the last three are strings or numbers.
const NAMES: [&str; 8] = [
    "input",
    "weight",
    "bias",
    "target",
    "class_weight",
    "reduction",
    "label_smoothing",
    "ignore_index",
];

/// Reads a case.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, [`Error::MissingTensor`], [`Error::Setting`] for a
/// part of the loss that cannot be checked, and all of [`Problem::new`].
pub fn load(source: &Source, request: &Request) -> Result<Inputs> {
    let budget = Budget {
        memory: request.memory.unwrap_or(MEMORY),
        unpacked: request.unpacked.unwrap_or(usize::MAX),
    };
    let (mut archive, path) = match source {
        Source::File(path) => (open(path, None, budget)?, path.clone()),
        Source::Bytes(path, bytes) => (open(path, Some(bytes), budget)?, path.clone()),
        Source::Separate(paths) => (
            Box::new(Separate { paths, budget }) as Box<dyn Archive>,
            PathBuf::from("the command line"),
        ),
    };
    let mut required = |name: &'static str| {
        let tensor = archive.tensor(name)?;
        tensor.ok_or_else(|| Error::MissingTensor {
            name,
            path: path.clone(),
            present: archive.names(),
        })
    };
    let (input, weight, target) = (required("input")?, required("weight")?, required("target")?);
    let loss = loss(archive.as_mut(), request)?;
    let problem = Problem::unread(input, weight, archive.tensor("bias")?, &target, loss)?;
    let rows = request.rows.clone().unwrap_or(0..problem.n());
    problem.require_finite(rows.start.min(problem.n())..rows.end.min(problem.n()))?;
    if !problem.has_bias()
        && (request.wrt.contains(&Wrt::Bias)
            || archive
                .names()
                .iter()
                .any(|name| name == Wrt::Bias.grad_name()))
    {
        // Taken as 0, a bias that was only forgotten would make every gradient wrong.
        return Err(Error::MissingTensor {
            name: "bias",
            path,
            present: archive.names(),
        });
    }
    let mut subjects = Vec::new();
    for wrt in Wrt::ALL {
        let gradient = archive.tensor(wrt.grad_name())?;
        if request.wrt.contains(&wrt) || (request.wrt.is_empty() && gradient.is_some()) {
            subjects.push(Subject { wrt, gradient });
        }
    }
    if subjects.is_empty() {
        // Somebody's gradient under another name must not end as a pass of our own.
        let present = archive.names();
        if present.iter().any(|name| is_like_a_gradient(name)) {
            return Err(Error::MissingTensor {
                name: "grad",
                path,
                present,
            });
        }
        subjects.push(Subject {
            wrt: Wrt::Input,
            gradient: None,
        });
    }
    tracing::info!(
        "{}: input [{}, {}] and weight [{}, {}]; to check: {}",
        path.display(),
        problem.n(),
        problem.d(),
        problem.k(),
        problem.d(),
        subjects
            .iter()
            .map(|subject| subject.wrt.grad_name())
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok(Inputs {
        problem,
        subjects,
        notes: unread(archive.names()).into_iter().collect(),
    })
}

fn is_like_a_gradient(name: &str) -> bool {
    name.to_lowercase().contains("grad")
}

/// Says which names mean nothing here: one of them may have been meant for another.
fn unread(mut names: Vec<String>) -> Option<String> {
    let gradients = Wrt::ALL.map(Wrt::grad_name);
    names.retain(|name| !NAMES.contains(&&**name) && !gradients.contains(&&**name));
    let of_them = match names.len() {
        0 => return None,
        1 => "is not read: that name means",
        _ => "are not read: these names mean",
    };
    let known = if names.iter().any(|name| is_like_a_gradient(name)) {
        format!("; gradients are {}", gradients.join(", "))
    } else {
        String::new()
    };
    Some(format!("{} {of_them} nothing here{known}", list(&names)))
}

/// The request's options, or the file's, or PyTorch's defaults.
fn loss(archive: &mut dyn Archive, request: &Request) -> Result<CrossEntropy> {
    let class_weight = archive.tensor("class_weight")?;
    if let Some(weight) = &class_weight {
        weight.require_float("class_weight")?;
    }
    let reduction = match (request.reduction, archive.setting("reduction").as_deref()) {
        (Some(reduction), _) => reduction,
        (None, None | Some("mean")) => Reduction::Mean,
        (None, Some("sum")) => Reduction::Sum,
        (None, Some(found)) => {
            let expected = "it must be mean or sum".to_owned();
            return Err(Error::Setting {
                name: "reduction",
                found: format!("\"{}\"", short(found)),
                expected,
            });
        }
    };
    let label_smoothing = match request.label_smoothing {
        Some(smoothing) => smoothing,
        None => number(archive, "label_smoothing")?.unwrap_or(0.0),
    };
    let ignore_index = match request.ignore_index {
        Some(index) => index,
        None => number(archive, "ignore_index")?.unwrap_or(IGNORE_INDEX),
    };
    Ok(CrossEntropy {
        reduction,
        class_weight: class_weight.map(|w| w.values()),
        ignore_index,
        label_smoothing,
    })
}

/// A number that came with the tensors.
fn number<T: std::str::FromStr>(
    archive: &mut dyn Archive,
    name: &'static str,
) -> Result<Option<T>> {
    let parse = |text: String| {
        let expected = "it must be a number".to_owned();
        text.trim().parse().map_err(|_| Error::Setting {
            name,
            found: format!("\"{}\"", short(&text)),
            expected,
        })
    };
    archive.setting(name).map(parse).transpose()
}

/// A format of files that hold named tensors.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Safetensors,
    #[cfg(feature = "npz")]
    Npz,
}

/// The format of a file, by its name.
///
/// # Errors
/// [`Error::Setting`] for any other.
pub(crate) fn format(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let expected = match extension.unwrap_or_default().to_lowercase().as_str() {
        "safetensors" => return Ok(Format::Safetensors),
        #[cfg(feature = "npz")]
        "npz" => return Ok(Format::Npz),
        #[cfg(not(feature = "npz"))]
        "npz" => "this build has no npz feature; a .safetensors file is expected",
        "npy" => {
            "an .npy file holds one tensor only; name each: --input F --weight F --target F --grad F"
        }
        _ => {
            "a .safetensors or .npz file is expected (safetensors.torch.save_file or numpy.savez write one)"
        }
    };
    Err(Error::Setting {
        name: "FILE",
        found: path.display().to_string(),
        expected: expected.to_owned(),
    })
}

#[cfg(feature = "serve")]
/// Whether it may take long to read for its size, since its arrays are to be unpacked. What is no such file is not: it is refused at once.
pub(crate) fn is_packed(source: &Source) -> bool {
    let (path, held) = match source {
        Source::File(path) => (path, None),
        Source::Bytes(path, bytes) => (path, Some(bytes.clone())),
        Source::Separate(_) => return false,
    };
    let budget = Budget {
        memory: MEMORY,
        unpacked: usize::MAX,
    };
    let map = || held.map_or_else(|| bytes::map(path, budget), Ok);
    matches!(format(path), Ok(Format::Npz)) && map().is_ok_and(npz::is_packed)
}

/// Opens a file, or what it would hold.
fn open(path: &Path, held: Option<&Bytes>, budget: Budget) -> Result<Box<dyn Archive>> {
    let format = format(path)?;
    let bytes = match held {
        Some(held) => held.clone(),
        None => bytes::map(path, budget)?,
    };
    Ok(match format {
        Format::Safetensors => Box::new(safetensors::Safetensors::new(path, bytes)?),
        #[cfg(feature = "npz")]
        Format::Npz => Box::new(npz::Npz::new(path, bytes, budget)?),
    })
}

/// Tensors in .npy files of their own.
struct Separate<'a> {
    paths: &'a BTreeMap<&'static str, PathBuf>,
    budget: Budget,
}

impl Archive for Separate<'_> {
    fn names(&self) -> Vec<String> {
        self.paths.keys().map(|&name| name.to_owned()).collect()
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        self.paths
            .get(name)
            .map(|path| npy::open(path, self.budget))
            .transpose()
    }

    fn setting(&mut self, _name: &str) -> Option<String> {
        None
    }
}

/// The format's error, with the file's name.
fn broken(path: &Path, format: &'static str, reason: impl ToString) -> Error {
    Error::Format {
        path: path.to_owned(),
        format,
        reason: reason.to_string(),
    }
}
