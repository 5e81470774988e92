//! Reads a network from a file: its model, and all tensors.

use std::{collections::BTreeMap, path::Path};

use super::{
    archive::{Archive, broken},
    bytes::Budget,
    source::Source,
    storage::read_text,
};
use crate::{
    error::{Error, Result},
    network::{Model, Network},
    tensor::{Dtype, Tensor},
};

/// A network, as read from a file.
pub struct NetworkFile {
    /// The network with its tensors.
    pub network: Network,
    /// Its description in words: the functions, in order.
    pub model: String,
    /// The type that the program computed in.
    pub dtype: Dtype,
}

/// Reads a network, if the file holds a `model` beside its tensors or `model` is given: a chain
/// such as `linear:fc1 relu linear:fc2 cross_entropy`, JSON, or the name of a .json file. Returns
/// `None` for a file of one linear layer.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] for a file that cannot be read, and those of
/// [`Network::new`].
pub fn load_network(
    source: &Source,
    model: Option<&str>,
    computed_in: Option<Dtype>,
    memory: usize,
) -> Result<Option<NetworkFile>> {
    let budget = Budget {
        memory,
        ..Budget::default()
    };
    let mut archive = source.open(budget)?;
    let model = match model {
        Some(model) => given(model)?,
        None => match model_of(archive.as_mut()) {
            Some(text) => parse(&text, source.path())?,
            None => return Ok(None),
        },
    };
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
        return Err(Error::Model {
            node: "gradients".to_owned(),
            reason: "the file holds none: save each as grad.NAME, NAME a value or a parameter \
                     of the model"
                .to_owned(),
        });
    };
    let dtype = computed_in.unwrap_or(coarsest);
    let words: Vec<&str> = model.nodes.iter().map(|node| node.op.as_str()).collect();
    Ok(Some(NetworkFile {
        network: Network::new(&model, &tensors, dtype)?,
        model: words.join(" "),
        dtype,
    }))
}

/// Returns the model that an archive holds. Any other text of that name is none.
pub(super) fn model_of(archive: &mut dyn Archive) -> Option<String> {
    archive.setting("model").filter(|text| Model::is_one(text))
}

/// Reads the model that a user gives: a chain, JSON, or the name of a .json file.
fn given(model: &str) -> Result<Model> {
    let path = Path::new(model);
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return parse(&read_text(path)?, path);
    }
    parse(model, path)
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
