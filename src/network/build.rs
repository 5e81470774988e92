//! A network: a model, with the tensors of a file.

use std::{collections::BTreeMap, fmt};

use super::{
    arithmetic::Arithmetic,
    layer::{self, Layer, OPS, Spec},
    loss::{self, LOSSES, Loss},
    model::{Model, Node},
};
use crate::{
    error::{Error, Result, list, short},
    tensor::{Dtype, Tensor},
};

/// A model with its parameters, inputs and targets, and the gradients to check.
pub struct Network {
    pub(super) model: Model,
    /// The tensors of the file.
    pub(super) tensors: BTreeMap<String, Tensor>,
    dtype: Dtype,
    pub(super) n: usize,
    /// The inputs, then the outputs of the nodes.
    pub(super) values: Vec<Value>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) nodes: Vec<Built>,
    pub(super) loss: Box<dyn Loss>,
    /// The place of the loss's input among the values.
    pub(super) output: usize,
    pub(super) arithmetic: Arithmetic,
    /// The number of layers that take each value.
    pub(super) consumers: Vec<usize>,
    /// The names of the tensors to check; none for all.
    asked: Vec<String>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Network").field(&self.model).finish()
    }
}

/// An input, or the output of a node.
pub(super) struct Value {
    /// True for a tensor of the file, false for the output of a node.
    pub(super) is_input: bool,
    /// The axes of a sample.
    pub(super) shape: Vec<usize>,
    /// The entries of a sample.
    pub(super) width: usize,
    /// The values in the file, if it has them: [n, width].
    pub(super) given: Option<Tensor>,
    /// The same as a tensor to check, if it is the output of a node.
    pub(super) value: Option<Tested>,
    pub(super) gradient: Option<Tested>,
}

/// A parameter of a node.
pub(super) struct Parameter {
    pub(super) entries: usize,
    pub(super) gradient: Option<Tested>,
}

/// A tensor to check: a gradient, or the value of a node.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Its name in the file: `grad.fc1.weight`, or `value.fc1`.
    pub name: String,
    /// The tensor as the file holds it.
    pub tensor: Tensor,
    /// True for the gradient of a parameter, which is a sum over the samples.
    pub is_parameter: bool,
    /// The node that computes it.
    pub node: String,
}

impl Tested {
    /// Returns true for a gradient, false for a value.
    pub fn is_gradient(&self) -> bool {
        self.name.starts_with("grad.")
    }

    fn is_named(&self, name: &str) -> bool {
        let plain = self.name.split_once('.').map(|(_, plain)| plain);
        self.name == name || plain == Some(name)
    }
}

/// A layer in its place.
pub(super) struct Built {
    pub(super) layer: Box<dyn Layer>,
    /// The places of its inputs among the values.
    pub(super) inputs: Vec<usize>,
    /// The places of its parameters.
    pub(super) parameters: std::ops::Range<usize>,
}

impl Network {
    /// Puts a model together with the tensors of a file: `input`, the parameters by their names in
    /// a `state_dict`, what the loss takes, such as `target`, the gradients `grad.NAME` to check,
    /// and values `value.NAME`, if they are given. `dtype` is the type that the program computed
    /// in, unless the model has that of autocast.
    ///
    /// # Errors
    /// [`Error::Model`] for a description that does not fit the tensors.
    pub fn new(model: &Model, tensors: &BTreeMap<String, Tensor>, dtype: Dtype) -> Result<Self> {
        let model = model.clone().wired()?;
        let dtype = model.autocast.unwrap_or(dtype);
        let Some((of_loss, layers)) = model.nodes.split_last() else {
            return Err(Error::model("nodes", "a model needs at least a loss"));
        };
        let mut making = Making {
            tensors,
            n: 0,
            dtype,
            places: BTreeMap::new(),
            network: Vec::new(),
            values: Vec::new(),
            parameters: Vec::new(),
        };
        for node in layers {
            making.add(node)?;
        }
        let [output] = of_loss.inputs.as_slice() else {
            return Err(Error::model(&of_loss.name, "a loss takes one output"));
        };
        let output = making.place(output, &of_loss.name)?;
        let shape = making.values[output].shape.clone();
        let loss = loss::build(&of_loss.op, &of_loss.attributes, &shape, making.n, tensors);
        let loss = loss.unwrap_or_else(|| Err(no_loss(of_loss)))?;
        let consumer = |value: usize| {
            let takes = |built: &&Built| built.inputs.contains(&value);
            let place = making.network.iter().position(|built| takes(&built));
            place
                .map_or(&of_loss.name, |node| &layers[node].name)
                .clone()
        };
        let names: Vec<(String, usize)> = making
            .places
            .iter()
            .map(|(name, &place)| (name.clone(), place))
            .collect();
        let nodes: Vec<String> = (0..making.values.len()).map(consumer).collect();
        for (name, place) in names {
            let expected = [&[making.n], making.values[place].shape.as_slice()].concat();
            let node = nodes[place].clone();
            let value = &mut making.values[place];
            value.gradient = gradient(tensors, &name, &expected, false, node)?;
        }
        let places = making.network.iter().flat_map(|built| &built.inputs);
        let mut consumers = vec![0; making.values.len()];
        places
            .chain([&output])
            .for_each(|&place| consumers[place] += 1);
        if making.n == 0 {
            return Err(Error::model(&of_loss.name, "the model takes no input"));
        }
        making.require_known()?;
        let mut arithmetic = Arithmetic::of(dtype);
        if model.autocast.is_some() {
            arithmetic = arithmetic.with_autocast();
        }
        if model.tf32 {
            arithmetic = arithmetic.with_tf32();
        }
        Ok(Self {
            model,
            tensors: tensors.clone(),
            dtype,
            n: making.n,
            values: making.values,
            parameters: making.parameters,
            nodes: making.network,
            loss,
            output,
            arithmetic,
            consumers,
            asked: Vec::new(),
        })
    }

    /// Returns the nodes that may be wrong if a tensor is: the one that computes it and, for a
    /// gradient, those behind it up to the next gradient that is given, in order.
    pub fn suspects(&self, tested: &Tested) -> Vec<&str> {
        let names: Vec<&str> = self.model.nodes.iter().map(|it| it.name.as_str()).collect();
        let mut suspects: Vec<bool> = names.iter().map(|name| *name == tested.node).collect();
        let nodes = self.outputs().into_iter().enumerate();
        // The gradient that dot hands on is given.
        let is_given = self.model.nodes.last().is_some_and(|node| node.op == "dot");
        for (node, (output, _)) in nodes.filter(|_| tested.is_gradient()) {
            if !suspects[node] || self.values[output].gradient.is_some() {
                continue;
            }
            for (later, built) in self.nodes.iter().enumerate() {
                suspects[later] |= built.inputs.contains(&output);
            }
            suspects[names.len() - 1] |= output == self.output && !is_given;
        }
        let pairs = names.into_iter().zip(suspects);
        pairs
            .filter(|(_, is_one)| *is_one)
            .map(|(name, _)| name)
            .collect()
    }

    /// Returns the number that the sum of the losses is divided by.
    pub fn normalizer(&self) -> f64 {
        self.loss.normalizer()
    }

    /// Returns the name of the loss.
    pub fn loss_name(&self) -> &str {
        self.model.nodes.last().map_or("", |node| &node.name)
    }

    /// Returns the network with these tensors alone to check. A name is that of the value or the
    /// parameter, with or without `grad.` or `value.`. The gradients of others are still taken as
    /// upstream gradients.
    ///
    /// # Errors
    /// [`Error::Model`] for a tensor that is not given.
    pub fn asked(mut self, names: &[String]) -> Result<Self> {
        for name in names {
            if !self.tested().into_iter().any(|it| it.is_named(name)) {
                let all = self.tested();
                let all: Vec<String> = all.into_iter().map(|it| it.name.clone()).collect();
                return Err(Error::Setting {
                    name: "--wrt",
                    found: short(name),
                    expected: format!("the tensors to check are {}", list(&all)),
                });
            }
        }
        self.asked = names.to_vec();
        Ok(self)
    }

    /// Returns true for a tensor that is to be checked.
    pub(super) fn is_asked(&self, tested: &Tested) -> bool {
        self.asked.is_empty() || self.asked.iter().any(|name| tested.is_named(name))
    }

    /// Returns the functions of its layers and of its loss, in order.
    pub fn functions(&self) -> String {
        self.model.functions()
    }

    /// Returns the number of outputs of layers whose gradient is given, and of all but the last.
    pub fn upstream(&self) -> [usize; 2] {
        let inner = self.values.iter().enumerate();
        let inner = inner.filter(|(place, it)| !it.is_input && *place != self.output);
        let is_given = |(_, it): &(usize, &Value)| it.gradient.is_some();
        [inner.clone().filter(is_given).count(), inner.count()]
    }

    /// Returns the type that the program computed in.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The step of the local differences, relative to values above 1.
    pub const STEP: f64 = layer::STEP;

    /// Returns true if a sample's values depend on the other samples.
    pub fn is_coupled(&self) -> bool {
        self.nodes.iter().any(|node| node.layer.is_coupled())
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> usize {
        self.n
    }

    /// Returns the width of the first input, and that of the output.
    pub fn widths(&self) -> [usize; 2] {
        let input = self.values.iter().find(|value| value.is_input);
        [
            input.map_or(0, |it| it.width),
            self.values[self.output].width,
        ]
    }

    /// Returns the tensors to check: the values from the input on, then the gradients from the loss
    /// back, those of values first.
    pub fn tested(&self) -> Vec<&Tested> {
        let values = self.values.iter().filter_map(|it| it.value.as_ref());
        let gradients = self
            .values
            .iter()
            .rev()
            .filter_map(|it| it.gradient.as_ref());
        let parameters = self
            .parameters
            .iter()
            .rev()
            .filter_map(|it| it.gradient.as_ref());
        let all = values.chain(gradients).chain(parameters);
        all.filter(|tested| self.is_asked(tested)).collect()
    }
}

/// A network in the making.
struct Making<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
    n: usize,
    dtype: Dtype,
    /// The places of values, by name.
    places: BTreeMap<String, usize>,
    network: Vec<Built>,
    values: Vec<Value>,
    parameters: Vec<Parameter>,
}

impl Making<'_> {
    /// Returns the place of a value. A name that no node has is a tensor of the file.
    fn place(&mut self, name: &str, node: &str) -> Result<usize> {
        if let Some(&place) = self.places.get(name) {
            return Ok(place);
        }
        let Some(tensor) = self.tensors.get(name) else {
            let reason = format!("it takes {name}, which is neither a node nor a tensor");
            return Err(Error::model(node, reason));
        };
        let (Some(&n), true) = (tensor.shape().first(), tensor.dtype().is_float()) else {
            return Err(Error::model(
                node,
                format!("{name} must be [n, ...], in floating point"),
            ));
        };
        if self.n != 0 && n != self.n {
            let reason = format!("{name} has {n} samples, and others have {}", self.n);
            return Err(Error::model(node, reason));
        }
        if tensor.shape().contains(&0) {
            return Err(Error::model(node, format!("{name} has no entry")));
        }
        self.n = n;
        require_finite(tensor, name, node)?;
        let shape = tensor.shape()[1..].to_vec();
        Ok(self.push(name, shape, Some(tensor.clone()), true))
    }

    fn push(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        given: Option<Tensor>,
        is_input: bool,
    ) -> usize {
        let width: usize = shape.iter().product();
        let place = self.values.len();
        self.places.insert(name.to_owned(), place);
        let value = given.clone().filter(|_| !is_input).map(|tensor| Tested {
            name: format!("value.{name}"),
            tensor,
            is_parameter: false,
            node: name.to_owned(),
        });
        self.values.push(Value {
            is_input,
            shape,
            width,
            given: given.map(|tensor| tensor.reshaped(&[self.n, width])),
            value,
            gradient: None,
        });
        place
    }

    fn add(&mut self, node: &Node) -> Result<()> {
        let places: Vec<usize> = node
            .inputs
            .iter()
            .map(|input| self.place(input, &node.name))
            .collect::<Result<_>>()?;
        let shapes: Vec<Vec<usize>> = places
            .iter()
            .map(|&place| self.values[place].shape.clone())
            .collect();
        let Some((_, new)) = OPS.iter().find(|(op, _)| *op == node.op) else {
            return Err(unknown(node, "there is no such layer"));
        };
        let mut spec = Spec::new(
            &node.name,
            &node.attributes,
            &shapes,
            self.tensors,
            self.dtype,
        );
        let layer::Built {
            layer,
            shape,
            parameters,
        } = new(&mut spec)?;
        let first = self.parameters.len();
        for (name, shape) in parameters {
            let gradient = gradient(self.tensors, &name, &shape, true, node.name.clone())?;
            let entries = shape.iter().product();
            self.parameters.push(Parameter { entries, gradient });
        }
        let given = self.tensors.get(&format!("value.{}", node.name));
        let expected = [&[self.n], shape.as_slice()].concat();
        if let Some(given) = given {
            let (name, found) = (format!("value.{}", node.name), given.shape());
            if found != expected {
                let reason = format!("{name} has shape {found:?}, not {expected:?}");
                return Err(Error::model(&node.name, reason));
            }
            require_finite(given, &name, &node.name)?;
        }
        self.push(&node.name, shape, given.cloned(), false);
        self.network.push(Built {
            layer,
            inputs: places,
            parameters: first..self.parameters.len(),
        });
        Ok(())
    }

    /// Requires the tensors to check to belong to the model.
    fn require_known(&self) -> Result<()> {
        let has = |name: &str| {
            let parameters = self.parameters.iter().filter_map(|it| it.gradient.as_ref());
            let mut of_parameters = parameters.map(|it| it.name.as_str());
            self.places.contains_key(name) || of_parameters.any(|it| it == format!("grad.{name}"))
        };
        for name in self.tensors.keys() {
            let tested = name
                .strip_prefix("grad.")
                .or_else(|| name.strip_prefix("value."));
            if let Some(tested) = tested.filter(|tested| !has(tested)) {
                return Err(Error::model(
                    name,
                    format!("the model has no tensor named {tested}"),
                ));
            }
        }
        Ok(())
    }
}

/// Returns the gradient with respect to a tensor, if the file has it.
fn gradient(
    tensors: &BTreeMap<String, Tensor>,
    name: &str,
    expected: &[usize],
    is_parameter: bool,
    node: String,
) -> Result<Option<Tested>> {
    let Some(tensor) = tensors.get(&format!("grad.{name}")) else {
        return Ok(None);
    };
    if tensor.shape() != expected {
        let found = tensor.shape();
        return Err(Error::model(
            name,
            format!("its gradient has shape {found:?}, not {expected:?}"),
        ));
    }
    if !tensor.dtype().is_float() {
        return Err(Error::model(
            name,
            "its gradient must hold floating-point numbers",
        ));
    }
    Ok(Some(Tested {
        name: format!("grad.{name}"),
        tensor: tensor.clone(),
        is_parameter,
        node,
    }))
}

/// Returns the error for a last node that is no loss.
fn no_loss(node: &Node) -> Error {
    if OPS.iter().any(|(op, _)| *op == node.op) {
        let reason = format!("the last node must be a loss, and {} is a layer", node.op);
        return Error::model(&node.name, reason);
    }
    unknown(node, "there is no such loss")
}

/// The least likeness of a name to a known one that it may stand for: 1 less the share of letters
/// to change. Chosen: `do` is 0.67 from `dot`.
const LEAST_LIKENESS: f64 = 0.5;

/// Returns the error for a function that is not known, with the nearest name.
fn unknown(node: &Node, reason: &str) -> Error {
    let names = OPS
        .iter()
        .map(|(op, _)| *op)
        .chain(LOSSES.iter().map(|(loss, _)| *loss));
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(name, &node.op);
    let near = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = near.filter(|name| likeness(name) >= LEAST_LIKENESS);
    let advice = near
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default();
    Error::model(&node.name, format!("{reason}: {}{advice}", node.op))
}

/// Requires a tensor [n, ...] of finite floating-point numbers.
fn require_finite(tensor: &Tensor, name: &str, node: &str) -> Result<()> {
    if tensor.dtype().is_float() && tensor.is_finite() {
        return Ok(());
    }
    Err(Error::model(
        node,
        format!("{name} must hold finite floating-point numbers"),
    ))
}
