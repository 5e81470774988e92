//! The arrays of a file, as they are stored.

use std::path::Path;

use super::archive::Archive;
use crate::{
    error::{Error, Result},
    problem::Wrt,
    tensor::Tensor,
};

/// The arrays of a file, as they are stored.
pub(super) struct Arrays {
    /// The input; or the logits, if there is no weight.
    pub(super) samples: Tensor,
    /// `None` if the logits are given.
    pub(super) weight: Option<Tensor>,
    pub(super) bias: Option<Tensor>,
    pub(super) target: Tensor,
    pub(super) class_weight: Option<Tensor>,
    pub(super) sample_weight: Option<Tensor>,
    /// The gradients, by [`Wrt::ALL`].
    pub(super) gradients: [Option<Tensor>; 4],
    /// Sentences on the arrays that are not used, or under another name.
    pub(super) notes: Vec<String>,
}

impl Arrays {
    /// Reads the arrays of an archive: logits alone, unless it has both input and weight.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] if neither is there, or no target, and those of the archive.
    pub(super) fn read(archive: &mut dyn Archive, path: &Path) -> Result<Self> {
        let mut gradients = [const { None }; 4];
        for wrt in Wrt::ALL {
            gradients[wrt as usize] = archive.tensor(wrt.grad_name())?;
        }
        let (input, weight) = (archive.tensor("input")?, archive.tensor("weight")?);
        let (logits, bias) = (archive.tensor("logits")?, archive.tensor("bias")?);
        let mut notes = Vec::new();
        let unused = |name: &str, why: &str| format!("{name} was not read: {why}");
        let (samples, weight, bias) = match (input, weight, logits) {
            (Some(input), Some(weight), logits) => {
                let why = "the logits are computed from input and weight";
                notes.extend(logits.map(|_| unused("logits", why)));
                (input, Some(weight), bias)
            }
            (input, weight, Some(logits)) => {
                let why = "without both input and weight, the logits are the variable";
                let others = [("input", input), ("weight", weight), ("bias", bias)];
                let others = others.iter().filter(|(_, tensor)| tensor.is_some());
                notes.extend(others.map(|(name, _)| unused(name, why)));
                (logits, None, None)
            }
            (None, _, None) => return Err(missing(archive, path, "input or logits")),
            (Some(_), None, None) => return Err(missing(archive, path, "weight")),
        };
        if weight.is_none() {
            let [of_input, of_logits, ..] = &mut gradients;
            let is_of_logits = |it: &Tensor| it.shape() == samples.shape();
            if of_logits.is_none() && of_input.as_ref().is_some_and(is_of_logits) {
                *of_logits = of_input.take();
                notes.push("grad was read as grad_logits: the file has no input".to_owned());
            }
        }
        let target = archive.tensor("target")?;
        let class_weight = archive.tensor("class_weight")?;
        let sample_weight = archive.tensor("sample_weight")?;
        let small = [&weight, &bias, &target, &class_weight, &sample_weight];
        let parameters = Wrt::ALL.into_iter().filter(|wrt| wrt.is_parameter());
        let of_parameters = parameters.map(|wrt| &gradients[wrt as usize]);
        // Only some rows of the others may be needed.
        small
            .into_iter()
            .chain(of_parameters)
            .flatten()
            .try_for_each(Tensor::fetch)?;
        Ok(Self {
            samples,
            weight,
            bias,
            target: target.ok_or_else(|| missing(archive, path, "target"))?,
            class_weight,
            sample_weight,
            gradients,
            notes,
        })
    }
}

/// Returns the error for a name that an archive lacks.
pub(super) fn missing(archive: &dyn Archive, path: &Path, name: &'static str) -> Error {
    Error::MissingTensor {
        name,
        path: path.to_owned(),
        present: archive.names(),
    }
}
