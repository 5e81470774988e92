//! The description of a model: the nodes of a graph, in the order in which they are computed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    attributes::{Attribute, Attributes},
    loss::LOSSES,
};
use crate::{
    error::{Error, Result},
    tensor::Dtype,
};

/// The name of the tensor that a chain starts from.
const INPUT: &str = "input";

/// The description of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name of the format.
    pub format: String,
    /// The type of matrix products under `torch.autocast`: bf16 or f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autocast: Option<Dtype>,
    /// True if the operands of matrix products were rounded to TF32.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
    /// The nodes. The last one is the loss.
    pub nodes: Vec<Node>,
}

/// A layer of a model, or its loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The name of the node's output, and the prefix of its parameters, as in a `state_dict`.
    pub name: String,
    /// The function, by PyTorch's name, such as `layer_norm`.
    pub op: String,
    /// The nodes or tensors that it takes. By default the node before, or the tensor `input`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// The function's settings, by PyTorch's names, such as `eps`.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

impl Model {
    /// The name of the format.
    pub const FORMAT: &str = "gradprobe.model/1";

    /// Reads the short form of a chain, such as `linear:fc1 relu linear:fc2 cross_entropy`: the
    /// functions, each with the name whose parameters it takes, and with settings in parentheses,
    /// as in `gelu(approximate=tanh)`. `autocast=bf16` and `tf32=true` are settings of the model.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut taken = BTreeSet::from([INPUT.to_owned()]);
        let (mut autocast, mut tf32) = (None, false);
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("autocast", dtype)) => {
                    autocast = Some(half(dtype)?);
                    continue;
                }
                Some(("tf32", flag)) => {
                    let wrong = |_| Error::model("tf32", "it must be true or false");
                    tf32 = flag.parse().map_err(wrong)?;
                    continue;
                }
                _ => {}
            }
            let mut node = node(word)?;
            if !word_has_name(word) {
                let mut count = 1;
                while taken.contains(&node.name) {
                    count += 1;
                    node.name = format!("{}_{count}", node.op);
                }
            }
            taken.insert(node.name.clone());
            nodes.push(node);
        }
        let format = Self::FORMAT.to_owned();
        Self {
            format,
            autocast,
            tf32,
            nodes,
        }
        .wired()
    }

    /// Returns true for a text in one of the forms of a model, right or wrong: JSON of this format,
    /// or a chain that ends in a loss.
    pub fn is_one(text: &str) -> bool {
        let is_loss = |word: &str| {
            let op = word.split([':', '(']).next();
            LOSSES.iter().any(|(loss, _)| Some(*loss) == op)
        };
        text.contains(Self::FORMAT) || text.split_whitespace().last().is_some_and(is_loss)
    }

    /// Returns its settings, and the functions of its layers and of its loss, in order.
    pub fn functions(&self) -> String {
        let autocast = self.autocast.map(|dtype| format!("autocast={dtype}"));
        let tf32 = self.tf32.then(|| "tf32=true".to_owned());
        let functions = self.nodes.iter().map(|node| node.op.clone());
        let words: Vec<String> = autocast.into_iter().chain(tf32).chain(functions).collect();
        words.join(" ")
    }

    /// Fills in the inputs that are left out, and checks the names of the nodes.
    ///
    /// # Errors
    /// [`Error::Model`] for no node, two of the same name, or an input from a later node.
    pub fn wired(mut self) -> Result<Self> {
        if self.format != Self::FORMAT {
            return Err(Error::model(
                "format",
                format!("it is {}, not {}", self.format, Self::FORMAT),
            ));
        }
        if let Some(dtype) = self.autocast {
            half(&dtype.to_string())?;
        }
        let all: BTreeSet<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let mut before = BTreeSet::new();
        let mut last = INPUT.to_owned();
        for node in &mut self.nodes {
            if node.inputs.is_empty() {
                node.inputs.push(last);
            }
            if let Some(later) = node
                .inputs
                .iter()
                .find(|input| all.contains(*input) && !before.contains(*input))
            {
                let reason = format!("its input {later} is not computed before it");
                return Err(Error::model(&node.name, reason));
            }
            if !before.insert(node.name.clone()) {
                return Err(Error::model(&node.name, "two nodes have this name"));
            }
            last = node.name.clone();
        }
        if self.nodes.is_empty() {
            return Err(Error::model("nodes", "a model needs at least a loss"));
        }
        Ok(self)
    }
}

/// Reads the type of autocast.
fn half(dtype: &str) -> Result<Dtype> {
    match dtype {
        "bf16" => Ok(Dtype::BF16),
        "f16" => Ok(Dtype::F16),
        _ => Err(Error::model("autocast", "it must be bf16 or f16")),
    }
}

fn word_has_name(word: &str) -> bool {
    word.split('(').next().is_some_and(|op| op.contains(':'))
}

/// Reads a node of the short form.
fn node(word: &str) -> Result<Node> {
    let (head, settings) = match word.split_once('(') {
        None => (word, ""),
        Some((head, rest)) => match rest.strip_suffix(')') {
            Some(settings) => (head, settings),
            None => return Err(Error::model(word, "a closing parenthesis is missing")),
        },
    };
    let (op, name) = head.split_once(':').unwrap_or((head, head));
    if op.is_empty() || name.is_empty() {
        return Err(Error::model(
            word,
            "it must be a function, or FUNCTION:NAME",
        ));
    }
    let mut attributes = Attributes::new();
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(Error::model(word, format!("{setting} is not NAME=VALUE")));
        };
        let flag = value.parse().map(Attribute::Flag);
        let number = |_| value.parse().map(Attribute::Number);
        let text = |_| Attribute::Text(value.to_owned());
        let value = flag.or_else(number).unwrap_or_else(text);
        attributes.insert(name.to_owned(), value);
    }
    Ok(Node {
        name: name.to_owned(),
        op: op.to_owned(),
        inputs: Vec::new(),
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_wired_in_order() {
        let model =
            Model::parse("linear:fc1 relu layer_norm:norm(eps=1e-6) relu mse_loss").unwrap();
        let names: Vec<&str> = model.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["fc1", "relu", "norm", "relu_2", "mse_loss"]);
        assert_eq!(model.nodes[0].inputs, ["input"]);
        assert_eq!(model.nodes[3].inputs, ["norm"]);
        assert_eq!(model.nodes[2].attributes["eps"], Attribute::Number(1e-6));
    }

    #[test]
    fn a_bad_model_gets_a_sentence() {
        for (text, message) in [
            ("", "model: nodes: a model needs at least a loss"),
            (
                "linear: dot",
                "model: linear:: it must be a function, or FUNCTION:NAME",
            ),
            ("relu:a relu:a dot", "model: a: two nodes have this name"),
            (
                "gelu(tanh dot",
                "model: gelu(tanh: a closing parenthesis is missing",
            ),
            (
                "gelu(tanh) dot",
                "model: gelu(tanh): tanh is not NAME=VALUE",
            ),
        ] {
            assert_eq!(Model::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_name_is_no_model() {
        for text in [
            "linear:a dot",
            "mse_loss",
            "{\"format\":\"gradprobe.model/1\"}",
        ] {
            assert!(Model::is_one(text), "{text}");
        }
        for text in ["", "resnet18", "{}", "mse_loss of a model"] {
            assert!(!Model::is_one(text), "{text}");
        }
    }

    #[test]
    fn a_cycle_is_refused() {
        let node = |name: &str, input: &str| Node {
            name: name.to_owned(),
            op: "relu".to_owned(),
            inputs: vec![input.to_owned()],
            attributes: Attributes::new(),
        };
        let format = Model::FORMAT.to_owned();
        let nodes = vec![node("a", "b"), node("b", "a")];
        let model = Model {
            format,
            autocast: None,
            tf32: false,
            nodes,
        };
        let message = model.wired().unwrap_err().to_string();
        assert_eq!(message, "model: a: its input b is not computed before it");
    }
}
