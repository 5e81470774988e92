//! Saves a problem as a safetensors file that [`load`](super::load) reads.

use std::{collections::HashMap, path::Path};

use ::safetensors::{Dtype as Stored, tensor::TensorView};

use super::output_file::OutputFile;
use crate::{
    check::Subject,
    error::{Error, Result},
    loss::Target,
    problem::Problem,
    tensor::{Dtype, Tensor},
};

/// Writes a problem with one gradient.
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
    let tensors = [
        ("input", Some(problem.input())),
        ("weight", Some(problem.weight())),
        ("bias", problem.bias_tensor()),
        ("target", Some(&target)),
        ("class_weight", class_weight.as_ref()),
        (subject.wrt.grad_name(), subject.gradient.as_ref()),
    ];
    let mut views = Vec::new();
    for (name, tensor) in tensors {
        let Some(tensor) = tensor else {
            continue;
        };
        let shape = tensor.shape().to_vec();
        let view = TensorView::new(stored(tensor.dtype()), shape, tensor.as_bytes());
        views.push((name, view.expect("a tensor has the bytes of its shape")));
    }
    let metadata = HashMap::from([
        ("reduction".to_owned(), loss.reduction.to_string()),
        (
            "label_smoothing".to_owned(),
            loss.label_smoothing.to_string(),
        ),
        ("ignore_index".to_owned(), loss.ignore_index.to_string()),
    ]);
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
