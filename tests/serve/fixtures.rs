//! Bodies and files that several tests send.

use std::path::Path;

use gradprobe::{loss::Reduction, problem::Wrt, tensor::Dtype::F64};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::{cases::case, framework::gradient, problems::random};

/// Flags that let the tests of the service run on any machine.
pub(crate) const ON_CPU: [&str; 2] = ["--device", "cpu"];

/// Query that makes a check slow: two forward passes per entry, in calls of a fraction of a second.
pub(crate) const SLOW: &str = "method=forward-pass";

/// Token of the services that require one.
pub(crate) const TOKEN: &str = "0123456789abcdef";

/// Returns a small body with a correct gradient.
pub(crate) fn small(folder: &Path) -> Vec<u8> {
    case(folder, [8, 6, 4], 1.0)
}

/// Returns a body whose check with [`SLOW`] takes some seconds. Tests wait for its end.
pub(crate) fn medium(folder: &Path) -> Vec<u8> {
    case(folder, [4096, 64, 256], 1.0)
}

/// Returns a body whose check with [`SLOW`] takes four times as long. No test waits for its end.
pub(crate) fn large(folder: &Path) -> Vec<u8> {
    case(folder, [16384, 64, 256], 1.0)
}

/// Writes [`TOKEN`] into a file and returns its path.
pub(crate) fn token_file(folder: &Path) -> String {
    let path = folder.join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Writes a file with correct gradients of input and weight, and a tensor that is no gradient.
pub(crate) fn write_two_gradients(path: &Path) {
    let problem = random(1, 8, 6, 4, 1.0, Reduction::Mean);
    let bytes = |values: Vec<f64>| -> Vec<u8> {
        let values = values.into_iter();
        values.flat_map(f64::to_le_bytes).collect()
    };
    let gradient = |wrt| bytes(gradient(&problem, wrt, F64));
    let tensors = [
        ("input", vec![8, 6], bytes(problem.input().values())),
        ("weight", vec![4, 6], bytes(problem.weight().values())),
        ("bias", vec![4], bytes(problem.bias())),
        ("grad", vec![8, 6], gradient(Wrt::Input)),
        ("grad_weight", vec![4, 6], gradient(Wrt::Weight)),
        ("grad_input", vec![1], bytes(vec![0.0])),
    ];
    let labels: Vec<u8> = (0..8)
        .map(|row| problem.label(row).unwrap() as u8)
        .collect();
    let target = TensorView::new(Dtype::U8, vec![8], &labels).unwrap();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F64, shape.clone(), bytes);
        (*name, view.unwrap())
    });
    serialize_to_file(views.chain([("target", target)]), None, path).unwrap();
}
