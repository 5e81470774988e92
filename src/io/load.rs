//! Builds a problem and its gradients from the tensors and settings of a file.

use std::{ops::Range, path::Path, str::FromStr};

use super::{
    archive::Archive,
    bytes::Budget,
    names::{self, Spelled},
    source::Source,
};
use crate::{
    check::Subject,
    error::{Error, Result, short},
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
    /// The gradients to check. If empty, takes all gradients in the file.
    pub wrt: Vec<Wrt>,
    /// True to check the built-in backward pass with respect to `wrt`, or to the input if that is
    /// empty, and no gradient of the file.
    pub self_test: bool,
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
    let (archive, path) = (&mut Spelled::new(archive.as_mut()), source.path());
    let (problem, target_note) = problem(archive, path, request)?;
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
        notes: names::notes(archive)
            .into_iter()
            .chain(target_note)
            .collect(),
    })
}

/// Largest distance of a sum of probabilities from 1 that rounding explains, in f16 too. Chosen.
const SUM_ERROR: f64 = 0.01;

/// Returns a note on a target that PyTorch's cross_entropy would not take, or on probabilities that
/// do not add up to 1.
fn target_note(target: &Tensor, k: usize) -> Option<String> {
    let is_table = target.shape().len() == 2 && target.columns() == k;
    match (target.dtype().is_float(), is_table) {
        (true, true) => sums_note(target),
        (true, false) => {
            let dtype = target.dtype();
            let read = "its whole numbers were read as class indices";
            Some(format!("target holds {dtype}; {read}"))
        }
        (false, true) if k > 1 => {
            Some("target is one-hot; the class of each row was read from it".to_owned())
        }
        (false, _) => None,
    }
}

fn sums_note(target: &Tensor) -> Option<String> {
    let sum = |row| target.rows::<f64>(row..row + 1).iter().sum::<f64>();
    let sums = (0..target.shape()[0]).map(sum);
    let (least, most) = sums.fold((f64::INFINITY, 0.0f64), |(least, most), sum| {
        (sum.min(least), sum.max(most))
    });
    let is_one = |sum: f64| (sum - 1.0).abs() <= SUM_ERROR;
    (!is_one(least) || !is_one(most)).then(|| {
        format!(
            "the rows of target sum to {least:.4} at least and {most:.4} at most, not to 1; \
             they were used as they are"
        )
    })
}

/// Returns the problem, and a note if its target has an unusual form.
fn problem(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
) -> Result<(Problem, Option<String>)> {
    let input = required(archive, path, "input")?;
    let weight = required(archive, path, "weight")?;
    let target = required(archive, path, "target")?;
    let loss = loss(archive, request)?;
    let problem = Problem::unread(input, weight, archive.tensor("bias")?, &target, loss)?;
    let n = problem.n();
    let rows = request.rows.clone().unwrap_or(0..n);
    // The check reports rows beyond the last one, with the name of the flag.
    problem.require_finite(rows.start.min(n)..rows.end.min(n))?;
    let note = target_note(&target, problem.k());
    Ok((problem, note))
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

/// Returns the requested gradients. Without a request, returns those in the file.
///
/// # Errors
/// [`Error::MissingTensor`] or [`Error::NoGradient`] if the file lacks one, unless the built-in
/// backward pass is to be checked.
fn subjects(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
    problem: &Problem,
) -> Result<Vec<Subject>> {
    let present = archive.names();
    let has = |wrt: Wrt| present.iter().any(|name| name == wrt.grad_name());
    if !problem.has_bias() && (request.wrt.contains(&Wrt::Bias) || has(Wrt::Bias)) {
        // If a forgotten bias counted as 0, every gradient would be wrong.
        return Err(missing(archive, path, "bias"));
    }
    if request.self_test {
        let wrt = match request.wrt.as_slice() {
            [] => &[Wrt::Input],
            wrt => wrt,
        };
        let built_in = |&wrt: &Wrt| Subject {
            wrt,
            gradient: None,
        };
        return Ok(wrt.iter().map(built_in).collect());
    }
    let mut subjects = Vec::new();
    for wrt in Wrt::ALL {
        let name = wrt.grad_name();
        let gradient = archive.tensor(name)?;
        if gradient.is_none() && request.wrt.contains(&wrt) {
            return Err(missing(archive, path, name));
        }
        if gradient.is_some() && (request.wrt.is_empty() || request.wrt.contains(&wrt)) {
            subjects.push(Subject { wrt, gradient });
        }
    }
    if subjects.is_empty() {
        return Err(Error::NoGradient {
            path: path.to_owned(),
            present,
        });
    }
    Ok(subjects)
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
