//! Certificates: what makes each rule a statement about the function itself, whatever it was
//! derived from. They know the function alone.
//!
//! - Plain: the rule is f(x + d) - f(x), for d large enough that this loses few digits.
//! - Telescope: the rule's differences from point to point add up to the difference between the
//!   ends, for steps as small as 2^-17. No noise is amplified, however small they are.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::StandardNormal;

use super::{
    arithmetic::Arithmetic,
    attributes::{Attribute, Attributes},
    layer::{Layer, OPS, Spec, Upstream},
    loss::{self, LOSSES, Loss},
    sums::Sums,
    values::{At, Errors},
};
use crate::tensor::{Dtype, Tensor};

const ROWS: usize = 6;
const WIDTH: usize = 5;
const LENGTH: usize = ROWS * WIDTH;

fn random(seed: u64, count: usize, scale: f64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let normal = || scale * random.sample::<f64, _>(StandardNormal);
    std::iter::repeat_with(normal).take(count).collect()
}

fn tensors() -> BTreeMap<String, Tensor> {
    let positive = |values: Vec<f64>| values.iter().map(|value| 0.5 + value.abs()).collect();
    let vector = |seed| random(seed, WIDTH, 1.0);
    let variance: Vec<f64> = positive(vector(5));
    BTreeMap::from([
        (
            "node.weight".to_owned(),
            Tensor::from_f64(&[WIDTH], &vector(1)),
        ),
        (
            "node.bias".to_owned(),
            Tensor::from_f64(&[WIDTH], &vector(2)),
        ),
        (
            "node.running_mean".to_owned(),
            Tensor::from_f64(&[WIDTH], &vector(4)),
        ),
        (
            "node.running_var".to_owned(),
            Tensor::from_f64(&[WIDTH], &variance),
        ),
    ])
}

/// A layer as the tests make it, with the number of its inputs.
struct Case {
    name: String,
    layer: Box<dyn Layer>,
    inputs: usize,
    parameters: Vec<(String, Vec<usize>)>,
    tensors: BTreeMap<String, Tensor>,
    attributes: Attributes,
}

fn build(op: &str, attributes: &Attributes, tensors: &BTreeMap<String, Tensor>) -> Case {
    let inputs = match op {
        "add" | "multiply" | "dropout" => 2,
        _ => 1,
    };
    let mut tensors = tensors.clone();
    if op == "linear" && tensors["node.weight"].shape().len() == 1 {
        let weight = random(3, WIDTH * WIDTH, 1.0);
        tensors.insert(
            "node.weight".to_owned(),
            Tensor::from_f64(&[WIDTH, WIDTH], &weight),
        );
    }
    let shapes = vec![vec![WIDTH]; inputs];
    let (_, new) = OPS.iter().find(|(name, _)| *name == op).unwrap();
    let built = new(&mut Spec::new(
        "node",
        attributes,
        &shapes,
        &tensors,
        Dtype::F64,
    ))
    .unwrap();
    Case {
        name: format!("{op} {attributes:?}"),
        layer: built.layer,
        inputs,
        parameters: built.parameters,
        tensors,
        attributes: attributes.clone(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, _) in OPS {
        let settings: &[(&str, Attribute)] = match op {
            "gelu" => &[("approximate", Attribute::Text("tanh".to_owned()))],
            "leaky_relu" => &[("negative_slope", Attribute::Number(0.3))],
            "elu" | "celu" => &[("alpha", Attribute::Number(1.7))],
            "softplus" => &[("beta", Attribute::Number(2.0))],
            "hardtanh" => &[("max_val", Attribute::Number(0.4))],
            "batch_norm" => &[("training", Attribute::Flag(true))],
            _ => &[],
        };
        let shape = Attribute::Numbers(vec![WIDTH as f64]);
        let given = match op {
            "reshape" => Attributes::from([("shape".to_owned(), shape)]),
            _ => Attributes::new(),
        };
        cases.push(build(op, &given, &tensors()));
        for (name, value) in settings {
            let given = Attributes::from([((*name).to_owned(), value.clone())]);
            cases.push(build(op, &given, &tensors()));
        }
    }
    cases
}

fn forward(layer: &dyn Layer, x: &[Vec<f64>]) -> Vec<f64> {
    let mut y = vec![0.0; LENGTH];
    let x: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
    layer.forward(&x, &mut y);
    y
}

/// Calls a function with a layer at x.
fn at<R>(layer: &dyn Layer, x: &[Vec<f64>], call: impl FnOnce(&At) -> R) -> R {
    let (output, none) = (forward(layer, x), Errors::zeros(LENGTH));
    call(&At {
        inputs: x.iter().map(Vec::as_slice).collect(),
        output: &output,
        of_inputs: vec![&none; x.len()],
        arithmetic: &Arithmetic::of(Dtype::F64),
    })
}

/// Returns a gradient that is handed to a layer, without errors.
fn upstream<'a>(g: &'a [f64], errors: &'a Errors, arithmetic: &'a Arithmetic) -> Upstream<'a> {
    Upstream {
        g,
        errors,
        arithmetic,
    }
}

fn difference(layer: &dyn Layer, x: &[Vec<f64>], d: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; LENGTH];
    let d: Vec<&[f64]> = d.iter().map(Vec::as_slice).collect();
    at(layer, x, |at| layer.difference(at, &d, &mut out));
    out
}

fn distance(one: &[f64], other: &[f64]) -> f64 {
    let squares = one
        .iter()
        .zip(other)
        .map(|(one, other)| (one - other).powi(2));
    squares.sum::<f64>().sqrt()
}

fn size(values: &[f64]) -> f64 {
    distance(values, &vec![0.0; values.len()])
}

fn plus(x: &[Vec<f64>], d: &[Vec<f64>], times: f64) -> Vec<Vec<f64>> {
    let sum =
        |(x, d): (&Vec<f64>, &Vec<f64>)| x.iter().zip(d).map(|(x, d)| x + times * d).collect();
    x.iter().zip(d).map(sum).collect()
}

fn points(case: &Case, seed: u64, scale: f64) -> Vec<Vec<f64>> {
    (0..case.inputs as u64)
        .map(|input| random(seed + input, LENGTH, scale))
        .collect()
}

#[test]
fn rules_are_differences_of_the_function() {
    for case in cases() {
        for (seed, scale) in [(10, 0.02), (20, 0.3), (30, 1.0), (40, 6.0)] {
            let (x, d) = (points(&case, seed, 2.0), points(&case, seed + 5, scale));
            let to = plus(&x, &d, 1.0);
            let (from, to) = (forward(&*case.layer, &x), forward(&*case.layer, &to));
            let plain: Vec<f64> = to.iter().zip(&from).map(|(to, from)| to - from).collect();
            let error = distance(&difference(&*case.layer, &x, &d), &plain);
            let bound = 1e-15 * (size(&from) + size(&to));
            assert!(error <= bound, "{} {scale}: {error:e} {bound:e}", case.name);
        }
    }
}

#[test]
fn differences_add_up_between_the_ends() {
    for case in cases() {
        for exponent in [-4, -10, -17] {
            let h = 2f64.powi(exponent);
            // Multiples of h are exact.
            let exact = |values: Vec<f64>| -> Vec<f64> {
                values
                    .iter()
                    .map(|value| (value * 1024.0).round() / 1024.0)
                    .collect()
            };
            let x: Vec<Vec<f64>> = points(&case, 50, 2.0).into_iter().map(exact).collect();
            let d = vec![vec![h; LENGTH]; case.inputs];
            // Along one direction, but norms see no common shift.
            let d: Vec<Vec<f64>> = d
                .iter()
                .map(|d| {
                    d.iter()
                        .enumerate()
                        .map(|(i, d)| d * (1 + i % 3) as f64)
                        .collect()
                })
                .collect();
            let steps = 1 << 10;
            let mut sums = vec![0.0; LENGTH];
            let mut lost = vec![0.0; LENGTH];
            for step in 0..steps {
                let from = plus(&x, &d, f64::from(step));
                for (i, change) in difference(&*case.layer, &from, &d).iter().enumerate() {
                    // Compensated, so that only the rule's errors remain.
                    let (sum, term) = (sums[i], change - lost[i]);
                    sums[i] = sum + term;
                    lost[i] = (sums[i] - sum) - term;
                }
            }
            let to = forward(&*case.layer, &plus(&x, &d, f64::from(steps)));
            let from = forward(&*case.layer, &x);
            let ends: Vec<f64> = to.iter().zip(&from).map(|(to, from)| to - from).collect();
            let error = distance(&sums, &ends);
            let bound = 2e-15 * (size(&from) + size(&to));
            assert!(
                error <= bound,
                "{} 2^{exponent}: {error:e} {bound:e}",
                case.name
            );
        }
    }
}

#[test]
fn a_pull_is_the_difference_along_each_entry() {
    const H: f64 = 1.0 / (1 << 30) as f64;
    for case in cases() {
        let (x, g) = (points(&case, 60, 1.5), random(70, LENGTH, 1.0));
        let (none, arithmetic) = (Errors::zeros(LENGTH), Arithmetic::of(Dtype::F64));
        let upstream = upstream(&g, &none, &arithmetic);
        for input in 0..case.inputs {
            let (mut gx, mut errors) = (vec![0.0; LENGTH], Errors::zeros(LENGTH));
            at(&*case.layer, &x, |at| {
                case.layer.pull(at, input, &upstream, &mut gx, &mut errors);
            });
            let along = |entry: usize| {
                let side = |h: f64| {
                    let mut d = vec![vec![0.0; LENGTH]; case.inputs];
                    d[input][entry] = h;
                    let changes = difference(&*case.layer, &x, &d);
                    changes.iter().zip(&g).map(|(d, g)| d * g).sum::<f64>()
                };
                (side(H) - side(-H)) / (2.0 * H)
            };
            let along: Vec<f64> = (0..LENGTH).map(along).collect();
            let error = distance(&gx, &along) / size(&along);
            assert!(error < 1e-11, "{}, input {input}: {error:e}", case.name);
            assert!(
                errors.smooth.iter().all(|it| it.is_finite()),
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn parameters_act_affinely() {
    let mut checked = 0;
    for case in cases() {
        let (x, g) = (points(&case, 80, 1.5), random(90, LENGTH, 1.0));
        let (none, arithmetic) = (Errors::zeros(LENGTH), Arithmetic::of(Dtype::F64));
        let upstream = upstream(&g, &none, &arithmetic);
        let op = case.name.split(' ').next().unwrap();
        for (index, (name, shape)) in case.parameters.iter().enumerate() {
            let entries: usize = shape.iter().product();
            let mut sums = Sums::zeros(entries);
            at(&*case.layer, &x, |at| {
                case.layer.add_to_parameter(index, at, &upstream, &mut sums);
            });
            let along = |entry: usize| {
                let mut values = case.tensors[name].values::<f64>();
                values[entry] += 1.0;
                let mut tensors = case.tensors.clone();
                tensors.insert(name.clone(), Tensor::from_f64(shape, &values));
                let moved = forward(&*build(op, &case.attributes, &tensors).layer, &x);
                let from = forward(&*case.layer, &x);
                let changes = moved.iter().zip(&from).zip(&g);
                changes.map(|((to, from), g)| (to - from) * g).sum::<f64>()
            };
            let along: Vec<f64> = (0..entries).map(along).collect();
            let error = distance(&sums.sum, &along) / size(&along);
            assert!(error < 1e-13, "{} {name}: {error:e}", case.name);
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

fn losses() -> Vec<(String, Box<dyn Loss>, Vec<f64>)> {
    let probabilities = |values: Vec<f64>| -> Vec<f64> {
        values
            .iter()
            .map(|value| 1.0 / (1.0 + value.exp()))
            .collect()
    };
    let classes = Tensor::from_classes(&[0, 4, 2, -100, 1, 1]);
    let table = |values: &[f64]| Tensor::from_f64(&[ROWS, WIDTH], values);
    let values = random(1, LENGTH, 1.5);
    let mut losses = Vec::new();
    for (name, _) in LOSSES {
        let (target, y) = match name {
            "cross_entropy" => (classes.clone(), random(2, LENGTH, 3.0)),
            "nll_loss" => (classes.clone(), random(2, LENGTH, 1.0)),
            "binary_cross_entropy" => (
                table(&probabilities(values.clone())),
                probabilities(random(2, LENGTH, 2.0)),
            ),
            "binary_cross_entropy_with_logits" | "kl_div" => (
                table(&probabilities(values.clone())),
                random(2, LENGTH, 2.0),
            ),
            _ => (table(&values), random(2, LENGTH, 2.0)),
        };
        let tensors = BTreeMap::from([
            ("target".to_owned(), target),
            ("grad_output".to_owned(), table(&values)),
            (
                "class_weight".to_owned(),
                Tensor::from_f64(&[WIDTH], &[1.0, 2.0, 0.5, 3.0, 0.1]),
            ),
        ]);
        let mut given = vec![Attributes::new()];
        if name == "cross_entropy" {
            let smoothing = ("label_smoothing".to_owned(), Attribute::Number(0.2));
            given.push(Attributes::from([smoothing]));
        }
        for attributes in given {
            let loss = loss::build(name, &attributes, &[WIDTH], ROWS, &tensors)
                .unwrap()
                .unwrap();
            losses.push((format!("{name} {attributes:?}"), loss, y.clone()));
        }
    }
    losses
}

#[test]
fn a_loss_is_pulled_along_each_entry() {
    const H: f64 = 1.0 / (1 << 30) as f64;
    for (name, loss, y) in losses() {
        let arithmetic = Arithmetic::of(Dtype::F64);
        let none = Errors::zeros(LENGTH);
        let at = At {
            inputs: vec![&y],
            output: &[],
            of_inputs: vec![&none],
            arithmetic: &arithmetic,
        };
        let (mut gy, mut errors) = (vec![0.0; LENGTH], Errors::zeros(LENGTH));
        loss.pull(0..ROWS, &at, &mut gy, &mut errors);
        let along = |entry: usize| {
            let side = |h: f64| {
                let mut d = vec![0.0; LENGTH];
                d[entry] = h;
                loss.difference(0..ROWS, &y, &d).iter().sum::<f64>()
            };
            (side(H) - side(-H)) / (2.0 * H)
        };
        let along: Vec<f64> = (0..LENGTH).map(along).collect();
        let error = distance(&gy, &along) / size(&along);
        assert!(error < 1e-10, "{name}: {error:e}");
        let allowed = (0..LENGTH).map(|i| errors.allowed(i, arithmetic.u));
        assert!(
            size(&allowed.collect::<Vec<_>>()) < 1e-12 * size(&along),
            "{name}"
        );
    }
}
