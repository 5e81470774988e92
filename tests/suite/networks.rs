//! Networks: the examples, and what is said of a bad model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use gradprobe::{
    case::Case,
    check::{self, Listener, Options},
    device::Device,
    io::{self, Content, Request, Source},
    network::{self, Handed, Model, Network, Rows},
    output::words,
    report::{Code, Report, Verdict},
    tensor::{Dtype, Tensor},
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn load(name: &str) -> Case {
    let source = Source::File(format!("examples/{name}.safetensors").into());
    Case::load(&source, &Request::default(), &Options::default()).unwrap()
}

fn network(case: &Case) -> &Network {
    match &case.content {
        Content::Network(network) => network,
        Content::Layer(_) => panic!("a network was expected"),
    }
}

fn check(network: &Network) -> Report {
    check::network(network, &Options::default(), &mut ()).unwrap()
}

fn report(name: &str) -> Report {
    check(network(&load(name)))
}

/// Returns the layers that are wrong by themselves, with the tensors that show it.
fn wrong(report: &Report) -> Vec<(&str, &str)> {
    let wrong = report
        .checks
        .iter()
        .filter(|it| it.verdict == Verdict::Fail);
    wrong
        .map(|it| (it.layer.as_deref().unwrap(), it.name()))
        .collect()
}

#[test]
fn the_examples_are_right_or_wrong_in_one_layer() {
    for name in ["mlp", "softmax"] {
        let report = report(name);
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{name}: {:?}",
            wrong(&report)
        );
        assert!(
            report.checks.iter().all(|check| check.detectable < 1e-5),
            "{name}"
        );
    }
    for (name, place, cause) in [
        (
            "mlp-no-mask",
            ("relu", "grad.norm"),
            "hands on the gradient",
        ),
        (
            "mlp-no-mean",
            ("norm", "grad.fc1"),
            "leaves out the gradient through the mean",
        ),
        (
            "softmax-diagonal",
            ("softmax", "grad.input"),
            "only the diagonal",
        ),
    ] {
        let report = report(name);
        assert_eq!(wrong(&report), [place]);
        let consequences = report.checks.iter().filter(|check| check.consequence);
        let consequences: Vec<&str> = consequences.map(|check| check.name()).collect();
        // All that lies behind the layer.
        let behind: &[&str] = match name {
            "mlp-no-mask" => &[
                "grad.fc1",
                "grad.input",
                "grad.norm.bias",
                "grad.norm.weight",
                "grad.fc1.bias",
                "grad.fc1.weight",
            ],
            "mlp-no-mean" => &["grad.input", "grad.fc1.bias", "grad.fc1.weight"],
            _ => &[],
        };
        assert_eq!(consequences, behind, "{name}");
        let mut failed = report
            .checks
            .iter()
            .filter(|it| it.verdict == Verdict::Fail);
        let finding = &failed.next().unwrap().findings[0];
        assert_eq!(finding.code, Code::LayerTermMissing);
        assert!(finding.message.contains(cause), "{}", finding.message);
    }
}

/// Every tensor of the MLP in turn is made wrong, and the layer that computes it is named, alone.
#[test]
fn a_wrong_tensor_names_its_layer() {
    let source = Source::File("examples/mlp.safetensors".into());
    let names: Vec<String> = io::names(&source).unwrap();
    let tested = load("mlp");
    let layers: BTreeMap<String, String> = network(&tested)
        .tested()
        .into_iter()
        .map(|tested| (tested.name.clone(), tested.node.clone()))
        .collect();
    let mut checked = 0;
    for name in names.iter().filter(|name| name.starts_with("grad.")) {
        let file = load_with(name, |values| values.iter_mut().for_each(|v| *v *= 1.001));
        let report = check(&file);
        let found = wrong(&report);
        assert!(
            found.contains(&(layers[name].as_str(), name.as_str())),
            "{name}: {found:?}"
        );
        // The layer that takes a wrong gradient of a value gives a right one back: f32 hides none.
        let others = found.iter().filter(|(_, tensor)| tensor != name);
        let is_of_value = !name.ends_with("weight") && !name.ends_with("bias");
        assert!(is_of_value || others.count() == 0, "{name}: {found:?}");
        checked += 1;
    }
    assert_eq!(checked, 11);
}

/// The layer of each wrong tensor, alone with its upstream gradient, is wrong in that tensor.
#[test]
fn a_layer_alone_fails_as_in_its_network() {
    let source = Source::File("examples/mlp.safetensors".into());
    let names: Vec<String> = io::names(&source).unwrap();
    for name in names.iter().filter(|name| name.starts_with("grad.")) {
        let file = load_with(name, |values| values.iter_mut().for_each(|v| *v *= 1.001));
        let tested = file.tested();
        let tested = tested.iter().find(|it| it.name == *name).unwrap();
        let (model, tensors) = file.alone(tested);
        let is_of_loss = tested.node == "cross_entropy";
        assert_eq!(model.nodes.len(), if is_of_loss { 5 } else { 2 }, "{name}");
        let alone = check(&Network::new(&model, &tensors, Dtype::F32).unwrap());
        let found: Vec<&str> = wrong(&alone)
            .into_iter()
            .map(|(_, tensor)| tensor)
            .collect();
        assert!(found.contains(&name.as_str()), "{name}: {found:?}");
        assert!(is_of_loss || found.len() == 1, "{name}: {found:?}");
    }
}

/// Returns the network of the MLP with one tensor altered.
fn load_with(name: &str, alter: impl Fn(&mut [f32])) -> Network {
    let mut tensors = mlp();
    let tensor = &tensors[name];
    let mut values = tensor.values::<f32>();
    alter(&mut values);
    let altered = Tensor::from_f32(tensor.shape(), &values);
    tensors.insert(name.to_owned(), altered);
    of_mlp(&tensors)
}

/// Returns the tensors of the MLP.
fn mlp() -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read("examples/mlp.safetensors").unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(key, view)| {
        let tensor = if view.dtype() == safetensors::Dtype::I64 {
            let classes = view
                .data()
                .chunks(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()));
            Tensor::from_classes(&classes.collect::<Vec<_>>())
        } else {
            let values = view
                .data()
                .chunks(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            Tensor::from_f32(view.shape(), &values.collect::<Vec<_>>())
        };
        (key, tensor)
    });
    tensors.collect()
}

fn of_mlp(tensors: &BTreeMap<String, Tensor>) -> Network {
    let model = Model::parse("linear:fc1 layer_norm:norm relu linear:fc2 cross_entropy").unwrap();
    Network::new(&model, tensors, Dtype::F32).unwrap()
}

/// A summed loss scales all gradients. Without those of hidden values, the fault lies between the
/// loss and the gradient that is next to it.
#[test]
fn a_summed_loss_is_named_without_hidden_gradients() {
    let mut tensors = mlp();
    let hidden = ["fc1", "norm", "relu", "fc2"].map(|name| format!("grad.{name}"));
    tensors.retain(|name, _| !hidden.contains(name));
    for (_, tensor) in tensors
        .iter_mut()
        .filter(|(name, _)| name.starts_with("grad."))
    {
        let summed: Vec<f32> = tensor.values::<f32>().iter().map(|g| 128.0 * g).collect();
        *tensor = Tensor::from_f32(tensor.shape(), &summed);
    }
    let report = check(&of_mlp(&tensors));
    for check in &report.checks {
        assert_eq!(
            check.findings[0].code,
            Code::SumInsteadOfMean,
            "{}",
            check.name()
        );
    }
    let first = report
        .checks
        .iter()
        .find(|it| it.name() == "grad.fc1.weight");
    let all = ["fc1", "norm", "relu", "fc2", "cross_entropy"];
    assert_eq!(first.unwrap().suspects, all);
    let layers = words::layers(&report).unwrap();
    assert!(
        layers.starts_with("Wrong: one of fc2, cross_entropy. "),
        "{layers}"
    );
}

/// The gradients of logits and of a last linear layer get the causes of cross-entropy.
#[test]
fn the_tail_gets_the_causes_of_cross_entropy() {
    let mut tensors = mlp();
    let labels = tensors["target"].values::<f32>();
    let (n, k) = (labels.len(), 10);
    // The gradient with a label smoothing of 0.1.
    let change = |i: usize| {
        let is_label = labels[i / k] as usize == i % k;
        (if is_label {
            0.1 - 0.1 / k as f32
        } else {
            -0.1 / k as f32
        }) / n as f32
    };
    let gradient = tensors["grad.fc2"].values::<f32>();
    let smoothed: Vec<f32> = (0..n * k).map(|i| gradient[i] + change(i)).collect();
    let mut of_bias = vec![0.0; k];
    smoothed
        .iter()
        .enumerate()
        .for_each(|(i, g)| of_bias[i % k] += g);
    tensors.insert("grad.fc2".to_owned(), Tensor::from_f32(&[n, k], &smoothed));
    tensors.insert("grad.fc2.bias".to_owned(), Tensor::from_f32(&[k], &of_bias));
    let find = |tensors: &BTreeMap<String, Tensor>, name: &str| {
        let report = check(&of_mlp(tensors));
        let check = report
            .checks
            .iter()
            .find(|it| it.name() == name)
            .unwrap()
            .clone();
        (check.verdict, check.findings)
    };
    let (verdict, findings) = find(&tensors, "grad.fc2");
    assert_eq!(
        (verdict, findings[0].code),
        (Verdict::Fail, Code::LabelSmoothingMissing)
    );
    assert!(
        findings[0].message.starts_with("grad.fc2 is"),
        "{}",
        findings[0].message
    );
    assert!(
        findings[0].fix.contains("or label_smoothing=0.1"),
        "{}",
        findings[0].fix
    );
    // With the logits' gradient, the bias is right.
    assert_eq!(find(&tensors, "grad.fc2.bias").0, Verdict::Pass);
    tensors.remove("grad.fc2");
    let (verdict, findings) = find(&tensors, "grad.fc2.bias");
    assert_eq!(
        (verdict, findings[0].code),
        (Verdict::Fail, Code::LabelSmoothingMissing)
    );
}

#[test]
fn the_whole_agrees_with_its_layers() {
    for name in ["mlp", "softmax"] {
        network(&load(name)).confirm().unwrap();
    }
}

/// A gradient of the input alone is checked through all layers.
#[test]
fn gradients_of_hidden_values_may_be_missing() {
    let tensor = |shape: &[usize], scale: f64| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| scale * ((i * 29 + 7) % 23) as f64 / 23.0 - scale / 2.0);
        Tensor::from_f64(shape, &values.collect::<Vec<_>>())
    };
    let mut tensors = BTreeMap::from([
        ("input".to_owned(), tensor(&[5, 4], 2.0)),
        ("a.weight".to_owned(), tensor(&[6, 4], 1.0)),
        ("b.weight".to_owned(), tensor(&[3, 6], 1.5)),
        ("target".to_owned(), tensor(&[5, 3], 1.0)),
    ]);
    let model = Model::parse("linear:a tanh linear:b mse_loss").unwrap();
    let run = |tensors: &BTreeMap<String, Tensor>| {
        let mut seen = (Vec::new(), Vec::new());
        let network = Network::new(&model, tensors, Dtype::F64).unwrap();
        let mut visit = |rows: &Rows| {
            seen.0.extend(rows.numeric);
            seen.1.extend(rows.wrong());
        };
        assert!(network.check(0..5, Handed::Given, &mut visit, &mut |_| true));
        seen
    };
    // Zeros, to learn the derivative.
    tensors.insert(
        "grad.input".to_owned(),
        Tensor::from_f64(&[5, 4], &[0.0; 20]),
    );
    let (numeric, wrong) = run(&tensors);
    assert_eq!(wrong.len(), 20);
    tensors.insert("grad.input".to_owned(), Tensor::from_f64(&[5, 4], &numeric));
    assert_eq!(run(&tensors).1.len(), 0);
    let mut off = numeric;
    off[7] *= 1.0 + 1e-12;
    tensors.insert("grad.input".to_owned(), Tensor::from_f64(&[5, 4], &off));
    assert_eq!(run(&tensors).1, [7]);
}

#[test]
fn a_bad_model_gets_one_sentence() {
    let tensors = BTreeMap::from([
        ("input".to_owned(), Tensor::from_f64(&[2, 3], &[1.0; 6])),
        (
            "fc.weight".to_owned(),
            Tensor::from_f64(&[4, 3], &[1.0; 12]),
        ),
        (
            "other.weight".to_owned(),
            Tensor::from_f64(&[4, 5], &[1.0; 20]),
        ),
        (
            "grad_output".to_owned(),
            Tensor::from_f64(&[2, 4], &[1.0; 8]),
        ),
        (
            "grad.input".to_owned(),
            Tensor::from_f64(&[2, 3], &[1.0; 6]),
        ),
    ]);
    let message = |model: &str| {
        let model = Model::parse(model).unwrap();
        match Network::new(&model, &tensors, Dtype::F64) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(message("linear:fc dot"), "");
    for (model, expected) in [
        (
            "linear:fc rellu dot",
            "model: rellu: there is no such layer: rellu; did you mean relu?",
        ),
        (
            "linear:fc relu",
            "model: relu: the last node must be a loss, and relu is a layer",
        ),
        (
            "linear:fc2 dot",
            "model: fc2: the file holds no tensor named fc2.weight",
        ),
        (
            "linear:other dot",
            "model: other: other.weight has shape [4, 5], not [4, 3]",
        ),
        (
            "linear:fc relu(slope=1) dot",
            "model: relu: it has no attribute slope",
        ),
        (
            "linear:fc mse_loss",
            "model: mse_loss: the file holds no tensor named target",
        ),
        (
            "relu dot",
            "model: dot: grad_output has shape [2, 4], not [2, 3]",
        ),
    ] {
        assert_eq!(message(model), expected);
    }
}

#[test]
fn the_cause_is_named_where_two_arrays_show_it() {
    let file = load_with("grad.fc2.weight", |values| {
        values.iter_mut().for_each(|v| *v *= 1.5)
    });
    let report = check(&file);
    let failed = report
        .checks
        .iter()
        .find(|it| it.verdict == Verdict::Fail)
        .unwrap();
    assert_eq!(failed.findings[0].code, Code::Scaled);
    let message = &failed.findings[0].message;
    assert_eq!(
        message,
        "fc2: grad.fc2.weight is 1.5000 times the derivative"
    );
}

/// Stops a check after the first samples.
struct Impatient;

impl Listener for Impatient {
    fn is_interrupted(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_check_reports_the_samples_that_are_done() {
    let rows = 1 << 18;
    let zeros = || Tensor::from_f32(&[rows, 8], &vec![0.0; rows * 8]);
    let names = ["input", "grad_output", "grad.input"];
    let tensors = BTreeMap::from(names.map(|name| (name.to_owned(), zeros())));
    let network = Network::new(&Model::parse("tanh dot").unwrap(), &tensors, Dtype::F32).unwrap();
    let options = Options::default();
    let report = check::network(&network, &options, &mut Impatient).unwrap();
    assert!(report.interrupted);
    let done = report.checks[0].rows.as_ref().unwrap().compared;
    assert!(done > 0 && done < rows, "{done}");
}

/// Exactly on a kink, PyTorch's slope is right, another between both sides is undecided, and any
/// other is wrong.
#[test]
fn other_subgradients_on_a_kink_are_undecided() {
    let check_with = |model: &str, x: [f64; 4], gradient: [f64; 4]| {
        let upstream = [1.0, -2.0, 3.0, 0.5];
        let tensor = |values: &[f64]| Tensor::from_f64(&[2, 2], values);
        let tensors = BTreeMap::from([
            ("input".to_owned(), tensor(&x)),
            ("grad_output".to_owned(), tensor(&upstream)),
            ("grad.input".to_owned(), tensor(&gradient)),
        ]);
        let model = Model::parse(model).unwrap();
        let report = check(&Network::new(&model, &tensors, Dtype::F64).unwrap());
        let check = &report.checks[0];
        (check.verdict, check.wrong, check.undecided)
    };
    let on = [0.0, 1.0, 0.0, -1.0];
    assert_eq!(
        check_with("relu dot", on, [0.0, -2.0, 0.0, 0.0]),
        (Verdict::Pass, 0, 0)
    );
    for other in [1.0, 0.5] {
        let gradient = [other, -2.0, 3.0 * other, 0.0];
        assert_eq!(
            check_with("relu dot", on, gradient),
            (Verdict::Inconclusive, 0, 2)
        );
    }
    assert_eq!(
        check_with("relu dot", on, [1.5, -2.0, 0.0, 0.0]),
        (Verdict::Fail, 1, 0)
    );
    // Off the kink there is one slope.
    assert_eq!(
        check_with("relu dot", [1e-9; 4], [0.5, -2.0, 3.0, 0.5]),
        (Verdict::Fail, 1, 0)
    );
    let leaky = "leaky_relu(negative_slope=0.1) dot";
    assert_eq!(
        check_with(leaky, on, [0.1, -2.0, 0.3, 0.05]),
        (Verdict::Pass, 0, 0)
    );
    assert_eq!(
        check_with(leaky, on, [0.0, -2.0, 0.3, 0.05]),
        (Verdict::Fail, 1, 0)
    );
}

/// A mean over the batch couples its samples: they are differentiated together.
#[test]
fn a_coupled_layer_takes_all_samples() {
    let (rows, width) = (300, 3);
    let values = |scale: f64| -> Vec<f64> {
        let value = |i: usize| scale * ((i * 37 + 11) % 29) as f64 / 29.0 - scale / 2.0;
        (0..rows * width).map(value).collect()
    };
    let tensor = |values: &[f64]| Tensor::from_f64(&[rows, width], values);
    let mut tensors = BTreeMap::from([
        ("input".to_owned(), tensor(&values(2.0))),
        ("target".to_owned(), tensor(&values(1.0))),
        ("grad.input".to_owned(), tensor(&values(0.0))),
    ]);
    let model = Model::parse("tanh batch_norm(training=true) mse_loss(reduction=sum)").unwrap();
    let mut numeric = Vec::new();
    let network = Network::new(&model, &tensors, Dtype::F64).unwrap();
    network.check(
        0..rows,
        Handed::Given,
        &mut |rows| numeric.extend(rows.numeric),
        &mut |_| true,
    );
    tensors.insert("grad.input".to_owned(), tensor(&numeric));
    let network = Network::new(&model, &tensors, Dtype::F64).unwrap();
    assert_eq!(check(&network).verdict, Verdict::Pass);
    // A norm's output has no derivative along a common shift: the columns add up to zero.
    let slopes = values(2.0).into_iter().map(|x| 1.0 - x.tanh().powi(2));
    let before_tanh = numeric.iter().zip(slopes).map(|(g, slope)| g / slope);
    assert!(before_tanh.sum::<f64>().abs() < 1e-9);
    let some = Options {
        rows: Some(0..4),
        ..Options::default()
    };
    let error = check::network(&network, &some, &mut ()).unwrap_err();
    assert!(
        error.to_string().contains("takes all samples together"),
        "{error}"
    );
}

/// Each function has a golden file of PyTorch's, in f64, and its gradients pass to the last digits.
#[test]
fn every_function_has_the_gradients_of_pytorch() {
    let mut without: Vec<&str> = network::functions().concat();
    let files = std::fs::read_dir("tests/golden/networks").unwrap();
    for file in files {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = Source::File(path);
        let case = Case::load(&source, &Request::default(), &Options::default()).unwrap();
        let network = self::network(&case);
        let functions = network.functions();
        without.retain(|it| !functions.split(' ').any(|function| function == *it));
        let report = check(network);
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{name}: {:?}",
            wrong(&report)
        );
        // PyTorch's CELU takes alpha in f32.
        let sharp = if name == "celu-alpha" { 1e-6 } else { 1e-13 };
        let checks = report.checks.iter();
        let least = checks.map(|check| check.detectable).fold(0.0, f64::max);
        assert!(least < sharp, "{name}: {least}");
    }
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn every_function_is_documented() {
    let page = std::fs::read_to_string("docs/networks.md").unwrap();
    for name in network::functions().concat() {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_schema_is_that_of_the_reader() {
    let schema = std::fs::read_to_string("docs/model.schema.json").unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let model = Model::parse("autocast=bf16 tf32=true hardtanh:clamp(max_val=0.5) dot").unwrap();
    let model = serde_json::to_value(model).unwrap();
    assert_eq!(keys(&schema["properties"]), keys(&model));
    assert_eq!(schema["properties"]["format"]["const"], Model::FORMAT);
    let node = &schema["properties"]["nodes"]["items"]["properties"];
    assert_eq!(keys(node), keys(&model["nodes"][0]));
    let functions = serde_json::to_value(network::functions().concat()).unwrap();
    assert_eq!(node["op"]["enum"], functions);
}

/// Chains of golden files, altered at random, end with a check or with a sentence.
#[test]
fn no_altered_model_panics() {
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let mut files: Vec<PathBuf> = std::fs::read_dir("tests/golden/networks")
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let words: Vec<String> = network::functions()
        .concat()
        .into_iter()
        .flat_map(|name| [name.to_owned(), format!("{name}:f")])
        .chain(
            [
                "(",
                ")",
                "=",
                ",",
                ":",
                " ",
                "-1",
                "1e300",
                "nan",
                "eps=0",
                "training=true",
            ]
            .map(str::to_owned),
        )
        .chain(
            [
                "shape=0",
                "p=1",
                "dot",
                "input",
                "normalizer=0",
                "reduction=none",
            ]
            .map(str::to_owned),
        )
        .collect();
    let mut built = 0;
    for round in 0..3000 {
        let path = &files[round % files.len()];
        let source = Source::File(path.clone());
        let chain = chain_of(path);
        let text = if round % 2 == 0 {
            // Other functions between those of the chain.
            let mut functions: Vec<&str> = chain.split(' ').collect();
            let at = random.random_range(0..functions.len());
            functions.insert(at, &words[random.random_range(0..words.len())]);
            functions.join(" ")
        } else {
            let mut text: Vec<char> = chain.chars().collect();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..=text.len());
                let word = &words[random.random_range(0..words.len())];
                let end = (at + random.random_range(0..6)).min(text.len());
                text.splice(at..end, word.chars());
            }
            text.into_iter().collect()
        };
        let request = Request {
            model: Some(text.clone()),
            ..Request::default()
        };
        match Case::load(&source, &request, &Options::default()) {
            Ok(case) => {
                built += 1;
                let _ = case.check(&Options::default(), &Device::Cpu { note: None }, &mut ());
            }
            Err(error) => assert!(!error.to_string().contains('\n'), "{text}: {error}"),
        }
    }
    assert!(built > 100, "{built}");
}

/// Returns the model of a file as a chain.
fn chain_of(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let model = header.metadata().as_ref().unwrap()["model"].clone();
    if model.starts_with('{') {
        "relu dot".to_owned()
    } else {
        model
    }
}
