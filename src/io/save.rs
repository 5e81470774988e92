//! Saves a problem as a safetensors file that [`load`](super::load) reads.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use ::safetensors::{Dtype as Stored, tensor::TensorView};

use super::output_file::OutputFile;
use crate::{
    check::Subject,
    error::{Error, Result},
    loss::Target,
    network::Model,
    problem::{Problem, Wrt},
    tensor::{Dtype, Tensor},
};

/// Writes a problem with one gradient. The weight has the axes that it has in the user's file, so
/// that the same settings apply; every other array is a matrix or a vector.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save(path: &Path, problem: &Problem, subject: &Subject) -> Result<()> {
    let loss = problem.loss();
    let target = match problem.target() {
        Target::Classes(classes) => Tensor::from_classes(classes),
        Target::Probabilities(probabilities) => probabilities.clone(),
    };
    let class_weight = loss.class_weight.as_ref();
    let class_weight = class_weight.map(|weights| Tensor::from_f64(&[weights.len()], weights));
    let sample_weight = problem.sample_weight();
    let sample_weight = sample_weight.map(|weights| Tensor::from_f64(&[weights.len()], weights));
    let layout = problem.layout(Wrt::Weight);
    let as_stored = |weight: &Tensor| match layout {
        Some(layout) => layout.restored(weight),
        None => weight.clone(),
    };
    let is_linear = !problem.is_of_logits();
    let weight = is_linear.then(|| as_stored(problem.weight()));
    let gradient = subject.gradient.as_ref();
    let gradient = gradient.map(|gradient| match subject.wrt {
        Wrt::Weight => as_stored(gradient),
        _ => gradient.clone(),
    });
    let samples = if is_linear { "input" } else { "logits" };
    let tensors = [
        (samples, Some(problem.samples())),
        ("weight", weight.as_ref()),
        ("bias", problem.bias_tensor()),
        ("target", Some(&target)),
        ("class_weight", class_weight.as_ref()),
        ("sample_weight", sample_weight.as_ref()),
        (subject.wrt.grad_name(), gradient.as_ref()),
    ];
    let tensors = tensors.into_iter();
    let tensors = tensors.filter_map(|(name, tensor)| Some((name.to_owned(), tensor?.clone())));
    let weight_layout = layout.map(|layout| if layout.is_transposed() { "dk" } else { "kd" });
    let settings = [
        ("reduction", Some(loss.reduction.to_string())),
        ("label_smoothing", Some(loss.label_smoothing.to_string())),
        ("ignore_index", Some(loss.ignore_index.to_string())),
        ("normalizer", loss.normalizer.map(|it| it.to_string())),
        ("weight_layout", weight_layout.map(str::to_owned)),
        (
            "computed_in",
            problem.computed_in().map(|it| it.to_string()),
        ),
    ];
    let settings = settings.into_iter();
    let settings = settings.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    save_tensors(path, &tensors.collect(), &settings.collect::<Vec<_>>())
}

/// Writes a network, with the type that its gradients were computed in.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_network(
    path: &Path,
    model: &Model,
    tensors: &BTreeMap<String, Tensor>,
    dtype: Dtype,
) -> Result<()> {
    let model = serde_json::to_string(model).expect("a model is names and numbers");
    let settings = [("model", model), ("computed_in", dtype.to_string())];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    save_tensors(path, tensors, &settings)
}

/// Writes tensors, and settings beside them.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    settings: &[(String, String)],
) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.shape().to_vec();
        let view = TensorView::new(stored(tensor.dtype()), shape, tensor.as_bytes());
        (name, view.expect("a tensor has the bytes of its shape"))
    });
    let metadata: HashMap<_, _> = settings.iter().cloned().collect();
    let bytes = ::safetensors::serialize(views, Some(metadata)).map_err(|error| Error::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    let mut file = OutputFile::create(path)?;
    file.write(&bytes)?;
    file.finish()
}

fn stored(dtype: Dtype) -> Stored {
    match dtype {
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::F32 => Stored::F32,
        Dtype::F64 => Stored::F64,
        Dtype::I8 => Stored::I8,
        Dtype::I16 => Stored::I16,
        Dtype::I32 => Stored::I32,
        Dtype::I64 => Stored::I64,
        Dtype::U8 => Stored::U8,
        Dtype::U16 => Stored::U16,
        Dtype::U32 => Stored::U32,
        Dtype::U64 => Stored::U64,
    }
}
