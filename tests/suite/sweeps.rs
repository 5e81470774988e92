//! Sweeps over the step for every gradient: a flat error is the gradient's.

use gradprobe::{
    check::Subject,
    device::Device,
    problem::Wrt,
    scheme::Precision,
    sweep::{glance, sweep},
    tensor::{Dtype, Tensor},
};

use crate::model::Model;

/// Multiply-adds per step: enough for the problems here.
const WORK: usize = 1 << 26;

fn subjects(model: &Model, factor: f64) -> Vec<Subject> {
    let mut gradients = model.backward(&model.logits_gradient());
    for values in &mut gradients {
        values.iter_mut().for_each(|g| *g *= factor);
    }
    let tensors = model.tensors(&gradients).into_iter();
    let subject = |(wrt, gradient): (Wrt, Tensor)| Subject {
        wrt,
        gradient: Some(gradient),
    };
    tensors.map(subject).collect()
}

#[test]
fn a_flat_error_is_told_from_a_step_that_is_too_large() {
    let device = Device::Cpu { note: None };
    for shape in [(10, 4, 2), (64, 20, 5), (33, 7, 12)] {
        let model = Model::random(1, Dtype::F32, shape);
        let problem = model.problem();
        for (factor, is_flat) in [(1.0, false), (10.0, true), (-1.0, true)] {
            for subject in subjects(&model, factor) {
                let steps = (1e-2, 1e-6);
                let swept = sweep(&problem, &subject, Precision::F32, steps, WORK, &device);
                let conclusion = swept.unwrap().conclusion();
                let what = format!("{shape:?} {:?} times {factor}", subject.wrt);
                assert_eq!(conclusion.is_some(), is_flat, "{what}: {conclusion:?}");
            }
        }
    }
}

/// In a saturated softmax most entries are rounding. They are wrong by as much as they are large,
/// at every step.
#[test]
fn a_right_saturated_gradient_is_not_accused() {
    let device = Device::Cpu { note: None };
    let mut mean = 0.0;
    for seed in 0..20 {
        let mut model = Model::random(seed, Dtype::F32, (64, 20, 10));
        model.weight.iter_mut().for_each(|w| *w *= 20.0);
        let problem = model.problem();
        for subject in subjects(&model, 1.0) {
            let steps = (1e-2, 1e-6);
            let swept = sweep(&problem, &subject, Precision::F32, steps, WORK, &device).unwrap();
            assert_eq!(swept.conclusion(), None, "{:?}", subject.wrt);
            mean = swept.points[4].difference.max(mean);
        }
    }
    assert!(mean > 1e-2, "{mean:.1e}: no gradient is saturated");
}

/// Of a parameter, the numeric gradient by forward passes sums over all samples.
#[test]
fn both_methods_agree_for_parameters() {
    let device = Device::Cpu { note: None };
    let model = Model::random(2, Dtype::F64, (50, 6, 4));
    let problem = model.problem();
    for subject in subjects(&model, 1.0) {
        let steps = (1e-3, 1e-4);
        let swept = sweep(&problem, &subject, Precision::F64, steps, WORK, &device).unwrap();
        for point in swept.points {
            let ratio = point.forward_pass / point.difference;
            assert!((0.9..1.1).contains(&ratio), "{:?} {point:?}", subject.wrt);
            assert!(point.difference < 1e-4, "{:?} {point:?}", subject.wrt);
        }
    }
}

/// The page of a report asks for a glance at every gradient, whatever its size.
#[test]
fn a_glance_never_fails() {
    let mut skipped = 0;
    for shape in [(10, 4, 2), (300, 20, 5), (400, 100, 30)] {
        let model = Model::random(3, Dtype::F32, shape);
        let problem = model.problem();
        for subject in subjects(&model, 1.0) {
            skipped += usize::from(glance(&problem, &subject).unwrap().is_none());
        }
    }
    assert!(skipped > 0);
}

#[test]
fn a_parameter_whose_sweep_takes_long_is_refused() {
    let model = Model::random(4, Dtype::F32, (300, 20, 5));
    let subject = &subjects(&model, 1.0)[2];
    let device = Device::Cpu { note: None };
    let steps = (1.0, 1e-2);
    let swept = sweep(
        &model.problem(),
        subject,
        Precision::F32,
        steps,
        1000,
        &device,
    );
    let message = swept.unwrap_err().to_string();
    assert!(
        message.starts_with("--wrt is weight, but each step of its sweep needs all 300 samples"),
        "{message}"
    );
}
