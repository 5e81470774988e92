//! Builds a problem of one layer and its gradients from the tensors and settings of a file.

use std::{ops::Range, path::Path, str::FromStr};

use super::{
    archive::Archive,
    arrays::{Arrays, missing},
    bytes::Budget,
    forms::{self, Formed, SUM_ERROR},
    names::{self, Spelled},
    request::Request,
};
use crate::{
    check::Subject,
    error::{Error, Result, short},
    loss::{CrossEntropy, IGNORE_INDEX, Reduction},
    problem::{Problem, WeightLayout, Wrt},
    tensor::Tensor,
};

/// A problem and the gradients to check, as read from files.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The loss and its operands.
    pub problem: Problem,
    /// The gradients under test.
    pub subjects: Vec<Subject>,
    /// Sentences on the tensors that were not read, and why; and on those that were read in another
    /// form than PyTorch's.
    pub notes: Vec<String>,
}

impl Inputs {
    /// Fetches a range of rows of all tensors, if an object in a store holds them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn fetch(&self, rows: &Range<usize>) -> Result<()> {
        self.problem.samples().fetch_rows(rows)?;
        fetch(&self.subjects, rows)
    }
}

/// Fetches a range of rows of gradients with one row per sample.
fn fetch(subjects: &[Subject], rows: &Range<usize>) -> Result<()> {
    let by_rows = subjects.iter().filter(|it| !it.wrt.is_parameter());
    let mut gradients = by_rows.filter_map(|it| it.gradient.as_ref());
    gradients.try_for_each(|gradient| gradient.fetch_rows(rows))
}

/// Reads a problem of one layer and the gradients to check.
///
/// # Errors
/// Those of [`read`](super::read::read).
pub(super) fn layer(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
    budget: Budget,
) -> Result<Inputs> {
    let archive = &mut Spelled::new(archive);
    let mut arrays = Arrays::read(archive, path)?;
    let mut loss = loss(archive, &arrays, request)?;
    let is_unknown = request.is_part && loss.normalizer.is_none();
    if is_unknown {
        loss.normalizer = Some(1.0);
    }
    let weight_layout = match request.weight_layout {
        Some(layout) => Some(layout),
        None => weight_layout(archive)?,
    };
    let computed_in = match request.computed_in {
        Some(dtype) => Some(dtype),
        None => number(archive, "computed_in", "it must be bf16, f16, f32 or f64")?,
    };
    let mut formed = forms::form(&arrays, loss, weight_layout, budget)?;
    if is_unknown {
        formed.problem = formed.problem.without_normalizer();
    }
    formed.problem = formed.problem.with_computed_in(computed_in);
    let n = formed.problem.n();
    let rows = request.rows.clone().unwrap_or(0..n);
    // The check reports rows beyond the last one, with the name of the flag.
    let rows = rows.start.min(n)..rows.end.min(n);
    // A check of random rows may read any. That of a part fetches the rows of each unit.
    let is_sampled = rows.is_empty() && !request.is_part;
    let fetched = if is_sampled { 0..n } else { rows.clone() };
    let problem = &formed.problem;
    problem.samples().fetch_rows(&fetched)?;
    problem.require_finite(rows)?;
    let target_note = target_note(&formed.target, problem.k());
    let subjects = subjects(archive, path, request, &mut arrays, &mut formed)?;
    let Formed { problem, notes, .. } = formed;
    fetch(&subjects, &fetched)?;
    let names: Vec<_> = subjects.iter().map(|it| it.wrt.grad_name()).collect();
    tracing::info!(
        "{}: {} {:?}, {} classes; to check: {}",
        path.display(),
        if problem.is_of_logits() {
            "logits"
        } else {
            "input"
        },
        problem.samples().shape(),
        problem.k(),
        names.join(", ")
    );
    let computed_in = computed_in_note(&problem, &subjects);
    let notes = names::notes(archive)
        .into_iter()
        .chain(arrays.notes)
        .chain(notes)
        .chain(target_note)
        .chain(computed_in)
        .collect();
    Ok(Inputs {
        problem,
        subjects,
        notes,
    })
}

/// Returns a note on gradients that were computed in a narrower type than they are stored in.
fn computed_in_note(problem: &Problem, subjects: &[Subject]) -> Option<String> {
    let dtype = problem.computed_in()?;
    let is_wider = |subject: &&Subject| {
        let stored = subject.gradient.as_ref().map(Tensor::dtype);
        stored.is_some_and(|stored| stored.unit_roundoff() < dtype.unit_roundoff())
    };
    let wider = subjects.iter().filter(is_wider);
    let wider: Vec<&str> = wider.map(|it| it.wrt.grad_name()).collect();
    let wider = wider.join(", ");
    (!wider.is_empty()).then(|| {
        format!(
            "computed_in={dtype}: the rounding of {dtype} is allowed for, though {wider} is stored \
             in a wider type"
        )
    })
}

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

/// Returns the requested gradients. Without a request, returns those in the file.
///
/// # Errors
/// [`Error::MissingTensor`] or [`Error::NoGradient`] if the file lacks one, unless the built-in
/// backward pass is to be checked.
fn subjects(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
    arrays: &mut Arrays,
    formed: &mut Formed,
) -> Result<Vec<Subject>> {
    let is_of_logits = formed.problem.is_of_logits();
    let all_asked = variables(&request.wrt)?;
    let asked = |wrt: Wrt| all_asked.contains(&wrt);
    let has = |wrt: Wrt| arrays.gradients[wrt as usize].is_some();
    if is_of_logits {
        formed
            .notes
            .extend(of_layer(archive, path, &all_asked, arrays)?);
    } else if !formed.problem.has_bias() && (asked(Wrt::Bias) || has(Wrt::Bias)) {
        // If a forgotten bias counted as 0, every gradient would be wrong.
        return Err(missing(archive, path, "bias"));
    }
    if request.self_test {
        let wrt = match all_asked.as_slice() {
            [] if is_of_logits => &[Wrt::Logits],
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
        let gradient = arrays.gradients[wrt as usize].take();
        if gradient.is_none() && asked(wrt) {
            return Err(missing(archive, path, wrt.grad_name()));
        }
        let is_checked = all_asked.is_empty() || asked(wrt);
        if let Some(gradient) = gradient.filter(|_| is_checked)
            && (wrt == Wrt::Logits || !is_of_logits)
        {
            let gradient = Some(formed.gradient(wrt, &gradient)?);
            subjects.push(Subject { wrt, gradient });
        }
    }
    if subjects.is_empty() {
        return Err(Error::NoGradient {
            path: path.to_owned(),
            present: archive.names(),
        });
    }
    Ok(subjects)
}

/// Returns the variables of these names.
///
/// # Errors
/// [`Error::Setting`] for a name that none has.
fn variables(names: &[String]) -> Result<Vec<Wrt>> {
    let variable = |name: &String| {
        Wrt::named(name).ok_or_else(|| Error::Setting {
            name: "--wrt",
            found: short(name),
            expected: format!("it must be one of {}", Wrt::ALL.map(Wrt::name).join(", ")),
        })
    };
    names.iter().map(variable).collect()
}

/// Returns a note on the gradients of a layer in a file of logits.
///
/// # Errors
/// [`Error::MissingTensor`] if one of them is requested, or the file has no other gradient.
fn of_layer(
    archive: &dyn Archive,
    path: &Path,
    asked: &[Wrt],
    arrays: &Arrays,
) -> Result<Option<String>> {
    let has = |wrt: &Wrt| arrays.gradients[*wrt as usize].is_some();
    let of_layer = [Wrt::Input, Wrt::Weight, Wrt::Bias];
    let is_asked = of_layer.iter().any(|wrt| asked.contains(wrt));
    let unchecked: Vec<&str> = of_layer
        .iter()
        .filter(|wrt| has(wrt))
        .map(|it| it.grad_name())
        .collect();
    if is_asked || (!unchecked.is_empty() && !has(&Wrt::Logits)) {
        let has_input = archive.names().iter().any(|name| name == "input");
        let absent = if has_input { "weight" } else { "input" };
        return Err(missing(archive, path, absent));
    }
    let names = unchecked.join(", ");
    let note = || format!("{names} was not checked: it needs both input and weight");
    Ok((!unchecked.is_empty()).then(note))
}

/// Returns the order of the weight's axes that is stored beside the tensors.
fn weight_layout(archive: &mut dyn Archive) -> Result<Option<WeightLayout>> {
    const NAME: &str = "weight_layout";
    let layout = |text: String| match text.trim().to_lowercase().as_str() {
        "kd" => Ok(WeightLayout::Kd),
        "dk" => Ok(WeightLayout::Dk),
        _ => Err(unusable(NAME, &text, "it must be kd or dk")),
    };
    archive.setting(NAME).map(layout).transpose()
}

/// Returns the loss. Each option is that of the request, else the file's, else PyTorch's default.
/// The weights of samples are an upstream gradient of their losses, so the default is then the sum.
fn loss(archive: &mut dyn Archive, arrays: &Arrays, request: &Request) -> Result<CrossEntropy> {
    const NUMBER: &str = "it must be a number";
    if let Some(weight) = &arrays.class_weight {
        weight.require_float("class_weight")?;
    }
    let is_upstream = arrays.sample_weight.is_some();
    let reduction = match (request.reduction, archive.setting("reduction").as_deref()) {
        (Some(reduction), _) => reduction,
        (None, None) if !is_upstream => Reduction::Mean,
        (None, Some("mean")) => Reduction::Mean,
        (None, None | Some("sum")) => Reduction::Sum,
        (None, Some("none")) if is_upstream => Reduction::Sum,
        (None, Some(found)) => {
            let expected = "it must be mean or sum; none needs the upstream gradient of the \
                            samples' losses, as sample_weight [n]";
            return Err(unusable("reduction", found, expected));
        }
    };
    let label_smoothing = match request.label_smoothing {
        Some(smoothing) => smoothing,
        None => number(archive, "label_smoothing", NUMBER)?.unwrap_or(0.0),
    };
    let ignore_index = match request.ignore_index {
        Some(index) => index,
        None => number(archive, "ignore_index", NUMBER)?.unwrap_or(IGNORE_INDEX),
    };
    let normalizer = match request.normalizer {
        Some(normalizer) => Some(normalizer),
        None => number(archive, "normalizer", NUMBER)?,
    };
    Ok(CrossEntropy {
        reduction,
        class_weight: arrays.class_weight.as_ref().map(Tensor::values),
        ignore_index,
        label_smoothing,
        normalizer,
    })
}

/// Returns the value that is stored beside the tensors under this name, if there is one.
fn number<T: FromStr>(
    archive: &mut dyn Archive,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>> {
    let parse = |text: String| {
        let value = text.trim().parse();
        value.map_err(|_| unusable(name, &text, expected))
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
