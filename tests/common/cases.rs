//! Files for tests to check.

use std::path::Path;

use gradprobe::{check::Subject, io, loss::Reduction, problem::Wrt, tensor::Dtype};

use super::{
    framework::{gradient, tensor},
    problems,
};

/// Returns a safetensors file with a random problem and its gradient times `factor`.
pub(crate) fn case(folder: &Path, [n, d, k]: [usize; 3], factor: f64) -> Vec<u8> {
    let problem = problems::random(1, n, d, k, 1.0, Reduction::Mean);
    let mut values = gradient(&problem, Wrt::Input, Dtype::F32);
    values.iter_mut().for_each(|value| *value *= factor);
    let subject = Subject {
        wrt: Wrt::Input,
        gradient: Some(tensor(Dtype::F32, &[n, d], &values)),
    };
    let path = folder.join("case.safetensors");
    io::save(&path, &problem, &subject).unwrap();
    std::fs::read(path).unwrap()
}
