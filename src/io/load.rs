//! Builds a problem and its gradients from the tensors and settings of a file.

use std::{ops::Range, path::Path, str::FromStr};

use super::{archive::Archive, bytes::Budget, source::Source};
use crate::{
    check::Subject,
    error::{Error, Result, list, short},
    loss::{CrossEntropy, IGNORE_INDEX, Reduction},
    problem::{Problem, Wrt},
    tensor::Tensor,
};

/// A problem and the gradients to check, as read from files.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The loss and its operands.
    pub problem: Problem,
    /// The gradients under test.
    pub subjects: Vec<Subject>,
    /// Sentences on the tensors that were not read, and why.
    pub notes: Vec<String>,
}

/// The part of a file to read, and settings that override the file's.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The gradients to check. If empty, takes all gradients in the file, or that of the input if
    /// there are none.
    pub wrt: Vec<Wrt>,
    /// The reduction of the loss. `None` takes the file's, or the mean.
    pub reduction: Option<Reduction>,
    /// The target of samples that do not count. `None` takes the file's, or PyTorch's -100.
    pub ignore_index: Option<i64>,
    /// The share of the target that is spread over all classes. `None` takes the file's, or 0.
    pub label_smoothing: Option<f64>,
    /// The memory for arrays other than the weights, in bytes. `None` takes 1 GiB.
    pub memory: Option<usize>,
    /// The largest unpacked size of a compressed array, in bytes. `None` sets no limit.
    pub unpacked: Option<usize>,
    /// The rows of the input to validate, which reads them. `None` takes all rows. A check of
    /// random rows validates those itself.
    pub rows: Option<Range<usize>>,
}

/// Names that a file may hold beside gradients. The last three are settings.
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

/// Reads a problem and the gradients to check.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, [`Error::MissingTensor`],
/// [`Error::Setting`] for a setting of the loss that is not supported, and those of
/// [`Problem::new`].
pub fn load(source: &Source, request: &Request) -> Result<Inputs> {
    let mut budget = Budget::default();
    budget.memory = request.memory.unwrap_or(budget.memory);
    budget.unpacked = request.unpacked.unwrap_or(budget.unpacked);
    let mut archive = source.open(budget)?;
    let (archive, path) = (archive.as_mut(), source.path());
    let problem = problem(archive, path, request)?;
    let subjects = subjects(archive, path, request, &problem)?;
    let (n, d, k) = (problem.n(), problem.d(), problem.k());
    let names: Vec<_> = subjects.iter().map(|it| it.wrt.grad_name()).collect();
    tracing::info!(
        "{}: input [{n}, {d}] and weight [{k}, {d}]; to check: {}",
        path.display(),
        names.join(", ")
    );
    Ok(Inputs {
        problem,
        subjects,
        notes: unread(archive.names()).into_iter().collect(),
    })
}

fn problem(archive: &mut dyn Archive, path: &Path, request: &Request) -> Result<Problem> {
    let input = required(archive, path, "input")?;
    let weight = required(archive, path, "weight")?;
    let target = required(archive, path, "target")?;
    let loss = loss(archive, request)?;
    let problem = Problem::unread(input, weight, archive.tensor("bias")?, &target, loss)?;
    let n = problem.n();
    let rows = request.rows.clone().unwrap_or(0..n);
    // The check reports rows beyond the last one, with the name of the flag.
    problem.require_finite(rows.start.min(n)..rows.end.min(n))?;
    Ok(problem)
}

fn required(archive: &mut dyn Archive, path: &Path, name: &'static str) -> Result<Tensor> {
    let tensor = archive.tensor(name)?;
    tensor.ok_or_else(|| missing(archive, path, name))
}

fn missing(archive: &dyn Archive, path: &Path, name: &'static str) -> Error {
    Error::MissingTensor {
        name,
        path: path.to_owned(),
        present: archive.names(),
    }
}

/// Returns the requested gradients. Without a request, returns those in the file. If the file has
/// none, returns that of the input by the built-in backward pass.
fn subjects(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
    problem: &Problem,
) -> Result<Vec<Subject>> {
    let names = archive.names();
    let has = |wrt: Wrt| names.iter().any(|name| name == wrt.grad_name());
    if !problem.has_bias() && (request.wrt.contains(&Wrt::Bias) || has(Wrt::Bias)) {
        // If a forgotten bias counted as 0, every gradient would be wrong.
        return Err(missing(archive, path, "bias"));
    }
    let mut subjects = Vec::new();
    for wrt in Wrt::ALL {
        let gradient = archive.tensor(wrt.grad_name())?;
        if request.wrt.contains(&wrt) || (request.wrt.is_empty() && gradient.is_some()) {
            subjects.push(Subject { wrt, gradient });
        }
    }
    if subjects.is_empty() {
        // Checking the built-in gradient instead of one under an unknown name would pass.
        if names.iter().any(|name| is_like_a_gradient(name)) {
            return Err(missing(archive, path, "grad"));
        }
        subjects.push(Subject {
            wrt: Wrt::Input,
            gradient: None,
        });
    }
    Ok(subjects)
}

fn is_like_a_gradient(name: &str) -> bool {
    name.to_lowercase().contains("grad")
}

/// Returns a note on the tensors with unknown names, which may be misspelt.
fn unread(mut names: Vec<String>) -> Option<String> {
    let gradients = Wrt::ALL.map(Wrt::grad_name);
    names.retain(|name| !NAMES.contains(&&**name) && !gradients.contains(&&**name));
    if names.is_empty() {
        return None;
    }
    let (tensors, were) = if names.len() == 1 {
        ("tensor", "was")
    } else {
        ("tensors", "were")
    };
    let known = if names.iter().any(|name| is_like_a_gradient(name)) {
        format!("; gradients are named {}", gradients.join(", "))
    } else {
        String::new()
    };
    let names = list(&names);
    Some(format!("unknown {tensors} {names} {were} not read{known}"))
}

/// Returns the loss. Each option is that of the request, else the file's, else PyTorch's default.
fn loss(archive: &mut dyn Archive, request: &Request) -> Result<CrossEntropy> {
    let class_weight = archive.tensor("class_weight")?;
    if let Some(weight) = &class_weight {
        weight.require_float("class_weight")?;
    }
    let reduction = match (request.reduction, archive.setting("reduction").as_deref()) {
        (Some(reduction), _) => reduction,
        (None, None | Some("mean")) => Reduction::Mean,
        (None, Some("sum")) => Reduction::Sum,
        (None, Some(found)) => return Err(unusable("reduction", found, "it must be mean or sum")),
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
        class_weight: class_weight.map(|weight| weight.values()),
        ignore_index,
        label_smoothing,
    })
}

/// Returns the number that is stored beside the tensors under this name, if there is one.
fn number<T: FromStr>(archive: &mut dyn Archive, name: &'static str) -> Result<Option<T>> {
    let parse = |text: String| {
        let number = text.trim().parse();
        number.map_err(|_| unusable(name, &text, "it must be a number"))
    };
    archive.setting(name).map(parse).transpose()
}

fn unusable(name: &'static str, found: &str, expected: &str) -> Error {
    Error::Setting {
        name,
        found: format!("\"{}\"", short(found)),
        expected: expected.to_owned(),
    }
}
