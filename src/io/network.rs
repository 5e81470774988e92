//! Reads a network from a file: its model, and all tensors.

use std::{collections::BTreeMap, path::Path};

use super::{
    archive::{Archive, broken},
    request::Request,
};
use crate::{
    error::{Error, Result},
    network::{Model, Network},
    tensor::Tensor,
};

/// Reads a network, if the request or the file has a `model`. Returns `None` for a file of one
/// linear layer.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, [`Error::Setting`] for a
/// setting of one layer alone, and those of [`Network::new`].
pub(super) fn read(
    archive: &mut dyn Archive,
    path: &Path,
    request: &Request,
) -> Result<Option<Network>> {
    // Any other text of that name is no model.
    let in_file = || archive.setting("model").filter(|text| Model::is_one(text));
    let Some(text) = request.model.clone().or_else(in_file) else {
        return Ok(None);
    };
    let model = parse(&text, path)?;
    require_none_of_layer(request)?;
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for name in archive.names() {
        if let Some(tensor) = archive.tensor(&name)? {
            tensor.fetch()?;
            tensors.insert(name, tensor);
        }
    }
    if let Some(grad) = tensors.remove("grad") {
        tensors.entry("grad.input".to_owned()).or_insert(grad);
    }
    let gradients = tensors.iter().filter(|(name, _)| name.starts_with("grad."));
    let dtypes = gradients.map(|(_, tensor)| tensor.dtype());
    let coarsest = dtypes.max_by(|a, b| a.unit_roundoff().total_cmp(&b.unit_roundoff()));
    let Some(coarsest) = coarsest else {
        let reason = "the file holds none: save each as grad.NAME, NAME a value or a parameter of \
                      the model";
        return Err(Error::model("gradients", reason));
    };
    let of_file = archive.setting("computed_in").map(|text| {
        let dtype = text.trim().parse();
        dtype.map_err(|_| Error::model("computed_in", "it must be bf16, f16, f32 or f64"))
    });
    let dtype = match request.computed_in {
        Some(dtype) => dtype,
        None => of_file.transpose()?.unwrap_or(coarsest),
    };
    Ok(Some(
        Network::new(&model, &tensors, dtype)?.asked(&request.wrt)?,
    ))
}

/// Refuses settings of the loss, which are attributes of its node in a model.
fn require_none_of_layer(request: &Request) -> Result<()> {
    let text = |number: Option<f64>| number.map(|it| it.to_string());
    let given = [
        ("--reduction", request.reduction.map(|it| it.to_string())),
        (
            "--ignore-index",
            request.ignore_index.map(|it| it.to_string()),
        ),
        ("--label-smoothing", text(request.label_smoothing)),
        ("--normalizer", text(request.normalizer)),
        (
            "--weight-layout",
            request.weight_layout.map(|it| format!("{it:?}")),
        ),
        ("--self-test", request.self_test.then(|| true.to_string())),
    ];
    let mut given = given.into_iter();
    match given.find_map(|(name, found)| Some((name, found?))) {
        None => Ok(()),
        Some((name, found)) => Err(Error::Setting {
            name,
            found,
            expected:
                "a network takes it in its model, as in cross_entropy(reduction=sum), or not \
                       at all"
                    .to_owned(),
        }),
    }
}

/// Reads a chain, or JSON. `path` names it in messages.
fn parse(text: &str, path: &Path) -> Result<Model> {
    let text = text.trim();
    if !text.starts_with('{') {
        return Model::parse(text);
    }
    let model: Model =
        serde_json::from_str(text).map_err(|error| broken(path, Model::FORMAT, error))?;
    model.wired()
}
