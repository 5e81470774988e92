//! Arrays in other forms than PyTorch's matrices are the same problem: the same numbers in the
//! report, with places in the user's own shape.

use std::{fs, process::Command};

use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    io::{self, Inputs, Request, Source},
    loss::CrossEntropy,
    problem::{Problem, WeightLayout, Wrt},
    report::{Check, Code, Report, Verdict},
    tensor::{Dtype, Tensor},
};
use proptest::prelude::*;
use safetensors::SafeTensors;

use crate::framework::tensor;

mod case;
mod file;

use case::Case;
use file::{Array, File};

const CPU: Device = Device::Cpu { note: None };

fn run(inputs: &Inputs) -> Report {
    let (problem, subjects) = (&inputs.problem, &inputs.subjects);
    check::check(problem, subjects, &Options::default(), &CPU, &mut ()).unwrap()
}

fn checked(file: &File) -> Report {
    run(&file.load())
}

fn cases() -> impl Strategy<Value = Case> {
    (
        any::<u64>(),
        (2..5usize, 2..6usize),
        [1..4usize, 1..4usize, 2..4usize],
        2..8usize,
        prop::sample::select(vec![Dtype::F64, Dtype::F32, Dtype::BF16, Dtype::F16]),
        any::<bool>(),
        prop::option::of(1.0..100.0),
    )
        .prop_map(
            |(seed, (batch, sequence), d, k, dtype, is_weighted, normalizer)| Case {
                seed,
                batch,
                sequence,
                d,
                k,
                dtype,
                is_weighted,
                normalizer,
            },
        )
}

/// Names of arrays, and settings of their forms.
const NAMES: [&str; 11] = [
    "input",
    "weight",
    "bias",
    "logits",
    "target",
    "class_weight",
    "sample_weight",
    "grad",
    "grad_logits",
    "grad_weight",
    "grad_bias",
];

/// Returns the shapes of a file, of few elements and sometimes of none. A name may be left out.
fn shapes() -> impl Strategy<Value = Vec<Option<Vec<usize>>>> {
    let extent = prop_oneof![8 => 1..4usize, 1 => Just(0)];
    let shape = prop::collection::vec(extent, 0..4);
    prop::collection::vec(prop::option::weighted(0.7, shape), NAMES.len())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_shapes_are_read_or_refused_in_one_sentence(
        shapes in shapes(),
        is_float in any::<bool>(),
        layout in prop::option::of(prop::sample::select(vec!["kd", "dk"])),
    ) {
        let arrays = NAMES.into_iter().zip(shapes).filter_map(|(name, shape)| {
            let shape = shape?;
            let values = vec![0.0; shape.iter().product()];
            let is_whole = name == "target" && !is_float;
            Some((name, Array { is_whole, ..Array::new(&shape, values) }))
        });
        let layout = layout.map(|layout| ("weight_layout".to_owned(), layout.to_owned()));
        let file = File {
            dtype: Dtype::F32,
            arrays: arrays.collect(),
            metadata: layout.into_iter().collect(),
        };
        match io::load(&file.source(), &Request::default()) {
            Ok(inputs) => {
                let (problem, subjects) = (&inputs.problem, &inputs.subjects);
                let report = check::check(problem, subjects, &Options::default(), &CPU, &mut ());
                prop_assert!(report.is_ok(), "{:?}", report);
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}

fn case(k: usize, d: [usize; 3]) -> Case {
    Case {
        seed: 7,
        batch: 4,
        sequence: 5,
        d,
        k,
        dtype: Dtype::F64,
        is_weighted: false,
        normalizer: None,
    }
}

/// Returns a check without its places, which differ between forms.
fn without_places(check: &Check) -> Check {
    let mut check = check.clone();
    check.worst.iter_mut().for_each(|entry| entry.index.clear());
    if let Some(location) = &mut check.location {
        location.text.clear();
    }
    for finding in &mut check.findings {
        finding.message = finding.message.replace("feature", "column");
        finding.proof = None;
    }
    check
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_form_gives_the_report_of_the_plain_form(case in cases()) {
        for (form, plain, other) in case.forms() {
            let (expected, inputs) = (checked(&plain), other.load());
            let found = run(&inputs);
            prop_assert!(!inputs.notes.is_empty(), "{}", form);
            prop_assert_ne!(expected.verdict, Verdict::Fail, "{}", form);
            prop_assert_eq!(&found.problem, &expected.problem);
            prop_assert_eq!(found.checks.len(), expected.checks.len());
            for (found, expected) in found.checks.iter().zip(&expected.checks) {
                let [found, expected] = [found, expected].map(without_places);
                prop_assert_eq!(found, expected, "{}", form);
            }
        }
    }

    #[test]
    fn a_wrong_entry_is_found_at_its_own_place(case in cases(), at in any::<usize>()) {
        for (form, _, right) in case.forms() {
            for check in checked(&right).checks {
                let (wrt, mut wrong) = (check.wrt, right.clone());
                let array = wrong.arrays.get_mut(wrt.grad_name()).unwrap();
                let element = at % array.values.len();
                let largest = array.values.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
                array.values[element] += 10.0 * (largest + 1.0);
                let mut place = vec![0; array.shape.len()];
                let mut rest = element;
                for (place, extent) in place.iter_mut().zip(&array.shape).rev() {
                    *place = rest % extent;
                    rest /= extent;
                }
                let report = checked(&wrong);
                let check = report.checks.iter().find(|check| check.wrt == wrt).unwrap();
                prop_assert_eq!(check.verdict, Verdict::Fail, "{} {:?}", form, wrt);
                prop_assert_eq!(&check.worst[0].index, &place, "{} {:?}", form, wrt);
            }
        }
    }
}

/// `--save-failures` writes such files.
#[test]
fn a_saved_problem_gives_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.safetensors");
    let weighted = Case {
        is_weighted: true,
        normalizer: Some(7.0),
        ..case(6, [1, 2, 3])
    };
    for case in [case(5, [1, 2, 3]), case(6, [1, 2, 3]), weighted] {
        for (form, _, file) in case.forms() {
            let inputs = file.load();
            let report = run(&inputs);
            for (subject, expected) in inputs.subjects.iter().zip(&report.checks) {
                io::save(&path, &inputs.problem, subject).unwrap();
                let saved = io::load(&Source::File(path.clone()), &Request::default()).unwrap();
                let found = run(&saved);
                let [found, expected] = [&found.checks[0], expected].map(without_places);
                assert_eq!(found, expected, "{form}");
            }
        }
    }
}

/// A square weight does not show its axes: the cause is named in every gradient, with the setting.
#[test]
fn a_square_weight_of_the_other_layout_is_named_and_passes_with_the_setting() {
    let transposed = |array: &Array| array.permuted(&[1, 0]);
    let [layer, _] = case(6, [1, 2, 3]).plain();
    let file = layer.with(&[("weight", &transposed), ("grad_weight", &transposed)]);
    let report = checked(&file);
    for check in &report.checks {
        let finding = &check.findings[0];
        assert_eq!(
            finding.code,
            Code::WeightTransposedOrWrong,
            "{:?}",
            check.wrt
        );
        assert!(
            finding.fix.contains("--weight-layout dk"),
            "{}",
            finding.fix
        );
    }
    let request = Request {
        weight_layout: Some(WeightLayout::Dk),
        ..Request::default()
    };
    let inputs = io::load(&file.source(), &request).unwrap();
    assert_eq!(run(&inputs).verdict, Verdict::Pass);
}

/// The gradients of torch.autocast: numbers of bf16 in arrays of f32.
#[test]
fn gradients_computed_in_a_narrower_type_pass_if_that_is_set() {
    let [mut file, _] = case(5, [2, 3, 4]).plain();
    file.dtype = Dtype::F32;
    for (name, array) in &mut file.arrays {
        if name.starts_with("grad") {
            let rounded = tensor(Dtype::BF16, &array.shape, &array.values);
            array.values = rounded.values();
        }
    }
    let report = checked(&file);
    assert_eq!(report.verdict, Verdict::Fail);
    let finding = &report.checks[0].findings[0];
    assert_eq!(finding.code, Code::HalfPrecision);
    for way in ["--computed-in bf16", ".bfloat16()"] {
        assert!(finding.fix.contains(way), "{}", finding.fix);
    }
    file.metadata
        .insert("computed_in".to_owned(), "torch.bfloat16".to_owned());
    let inputs = file.load();
    assert!(
        inputs
            .notes
            .iter()
            .any(|note| note.contains("computed_in=bf16"))
    );
    let report = run(&inputs);
    // A bias's gradient of five classes may be too small for the rounding of bf16.
    assert_ne!(report.verdict, Verdict::Fail);
    assert_eq!(report.checks[0].verdict, Verdict::Pass);
    assert!(report.checks.iter().all(|check| check.dtype == Dtype::BF16));
    file.metadata
        .insert("computed_in".to_owned(), "f64".to_owned());
    let inputs = file.load();
    let (problem, subjects) = (&inputs.problem, &inputs.subjects);
    let error = check::check(problem, subjects, &Options::default(), &CPU, &mut ()).unwrap_err();
    let message = "computed_in is f64, but grad holds f32, which cannot hold the numbers of f64";
    assert_eq!(error.to_string(), message);
}

/// The gradients of binary cross-entropy with one output.
#[test]
fn one_output_is_explained() {
    let case = case(1, [2, 3, 4]);
    let [mut file, _] = case.plain();
    let (n, d) = (case.n(), case.d());
    let zeros = checked(&file);
    assert_ne!(zeros.verdict, Verdict::Fail);
    let (x, w) = (&file.arrays["input"].values, &file.arrays["weight"].values);
    let bias = file.arrays["bias"].values[0];
    let labels: Vec<f64> = (0..n).map(|j| (j % 3 % 2) as f64).collect();
    let sigmoid = |j: usize| {
        let z: f64 = bias + (0..d).map(|i| x[j * d + i] * w[i]).sum::<f64>();
        1.0 / (1.0 + (-z).exp())
    };
    let entry = |e: usize| (sigmoid(e / d) - labels[e / d]) * w[e % d] / n as f64;
    let gradient: Vec<f64> = (0..n * d).map(entry).collect();
    // Float labels [n, 1] are probabilities of the one class.
    file = file.without(&["grad_logits", "grad_weight", "grad_bias"]);
    file.arrays.insert("target", Array::new(&[n, 1], labels));
    file.arrays.insert("grad", Array::new(&[n, d], gradient));
    let inputs = file.load();
    assert!(
        inputs
            .notes
            .iter()
            .any(|note| note.contains("binary cross-entropy"))
    );
    let check = &run(&inputs).checks[0];
    assert_eq!(check.findings[0].code, Code::SigmoidInsteadOfSoftmax);
}

/// The numeric gradient has the axes of the gradient that it is compared with.
#[test]
fn the_numeric_gradient_is_written_in_the_users_own_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numeric.npy");
    for (form, wrt, shape) in [
        ("pixels", "logits", "(2, 3, 2, 3, )"),
        ("weight-dk", "weight", "(5, 3, )"),
        ("sequences", "input", "(3, 4, 5, )"),
        ("bias-row", "bias", "(1, 3, )"),
    ] {
        let file = format!("tests/cli/data/form-{form}.safetensors");
        let status = Command::new(env!("CARGO_BIN_EXE_gradprobe"))
            .args(["check", &file, "--device", "cpu", "--quiet", "--wrt", wrt])
            .arg("--numeric")
            .arg(&path)
            .status();
        assert!(status.unwrap().success(), "{form}");
        let numeric = fs::read(&path).unwrap();
        let header = String::from_utf8_lossy(&numeric[..128]).into_owned();
        assert!(header.contains(shape), "{form}: {header}");
        let bytes = fs::read(file).unwrap();
        let name = Wrt::ALL
            .into_iter()
            .find(|it| it.name() == wrt)
            .unwrap()
            .grad_name();
        let gradient = SafeTensors::deserialize(&bytes).unwrap();
        let gradient = gradient.tensor(name).unwrap().data().to_vec();
        let values = |bytes: &[u8]| {
            let (chunks, _) = bytes.as_chunks::<8>();
            chunks
                .iter()
                .map(|it| f64::from_le_bytes(*it))
                .collect::<Vec<f64>>()
        };
        let [numeric, gradient] = [values(&numeric[128..]), values(&gradient)];
        assert_eq!(numeric.len(), gradient.len());
        for (numeric, gradient) in numeric.iter().zip(&gradient) {
            assert!(
                (numeric - gradient).abs() < 1e-12,
                "{form}: {numeric} {gradient}"
            );
        }
    }
}

/// A layer is not needed: no matrix of k by k classes, and no work for one.
#[test]
fn given_logits_of_many_classes_take_the_memory_of_the_logits() {
    let k = 50_000;
    let logits: Vec<f64> = (0..k).map(|c| (c as f64 * 0.37).sin()).collect();
    let target = Tensor::from_classes(&[7]);
    let logits = Tensor::from_f64(&[1, k], &logits);
    let problem = Problem::of_logits(logits, &target, CrossEntropy::default()).unwrap();
    let subject = Subject {
        wrt: Wrt::Logits,
        gradient: None,
    };
    let subjects = [subject];
    let memory = check::memory(&problem, &subjects, &Options::default());
    assert!(memory < 1000 * 8 * k as u64, "{memory}");
    let report = check::check(&problem, &subjects, &Options::default(), &CPU, &mut ()).unwrap();
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.problem.d, None);
}

/// A custom backward pass that expands one entry of the upstream gradient over the batch.
#[test]
fn one_weight_for_all_samples_is_named() {
    let weighted = Case {
        is_weighted: true,
        ..case(5, [2, 3, 4])
    };
    let plain = case(5, [2, 3, 4]).plain();
    for (file, plain) in weighted.plain().into_iter().zip(plain) {
        for (weight, says) in [
            (1.0, "a weight of 1 for every"),
            (-2.5, "a weight of -2.5 for"),
        ] {
            let mut file = file.clone();
            for (name, array) in &plain.arrays {
                if name.starts_with("grad") {
                    // The plain loss is a mean.
                    let scale = weight * weighted.n() as f64;
                    let values = array.values.iter().map(|value| value * scale).collect();
                    file.arrays.insert(name, Array::new(&array.shape, values));
                }
            }
            for check in checked(&file).checks {
                let finding = &check.findings[0];
                assert_eq!(finding.code, Code::SampleWeightMissing, "{:?}", check.wrt);
                assert!(finding.message.contains(says), "{}", finding.message);
            }
        }
    }
}
