//! A tolerance that the user gives, and gradients that miss it: by rounding, or by more.

use gradprobe::{
    check::Options,
    problem::Wrt,
    report::{Code, Finding},
    tensor::Dtype,
};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::{framework::round, model::Model, problems::normal};

const DTYPES: [(Dtype, f64); 4] = [
    (Dtype::F64, 1e-17),
    (Dtype::F32, 1e-9),
    (Dtype::F16, 1e-5),
    (Dtype::BF16, 1e-4),
];
const SHAPES: [(usize, usize, usize); 3] = [(12, 8, 4), (200, 30, 10), (1000, 16, 6)];

/// Returns the first finding on each gradient that misses a relative tolerance.
fn findings(model: &Model, gradients: &[Vec<f64>; 4], rtol: f64) -> Vec<(Wrt, Finding)> {
    let options = Options {
        rtol: Some(rtol),
        ..Options::default()
    };
    let report = model.check_with(gradients, &Wrt::ALL, &options);
    let checks = report.checks.into_iter();
    checks
        .filter_map(|check| Some((check.wrt, check.findings.into_iter().next()?)))
        .collect()
}

#[test]
fn a_right_gradient_meets_a_tolerance_that_is_too_tight() {
    let mut named = 0;
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        for (dtype, rtol) in DTYPES {
            let model = Model::random(seed as u64, dtype, shape);
            let gradients = model.backward(&model.logits_gradient());
            for (wrt, finding) in findings(&model, &gradients, rtol) {
                let text = format!("{shape:?} {dtype} {wrt:?}: {}", finding.message);
                // In f64 the finite difference is no better than the gradient.
                let is_undecided = dtype == Dtype::F64 && finding.code == Code::BelowResolution;
                assert!(
                    is_undecided || finding.code == Code::ToleranceTooTight,
                    "{text}"
                );
                named += usize::from(!is_undecided);
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn noise_is_no_rounding() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        for (dtype, rtol) in DTYPES {
            let model = Model::random(seed as u64, dtype, shape);
            let mut gradients = model.backward(&model.logits_gradient());
            let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
            for values in &mut gradients {
                let noise = normal(&mut rng, values.len(), 0.2);
                let pairs = values.iter_mut().zip(noise);
                pairs.for_each(|(g, noise)| *g = round(dtype, *g * (1.0 + noise)));
            }
            for (wrt, finding) in findings(&model, &gradients, rtol) {
                let text = format!("{shape:?} {dtype} {wrt:?}: {}", finding.message);
                assert_ne!(finding.code, Code::ToleranceTooTight, "{text}");
            }
        }
    }
}

/// A gradient of the weight that is summed over chunks of the batch in bf16.
#[test]
fn sums_in_half_precision_are_no_rounding_of_the_result() {
    let mut beyond = 0;
    for seed in 0..4 {
        let model = Model::random(seed, Dtype::BF16, (2048, 16, 6));
        let logits = model.logits_gradient();
        let mut gradients = model.backward(&logits);
        let (d, k, chunk) = (16, 6, 16);
        let mut sum = vec![0.0; k * d];
        for start in (0..2048).step_by(chunk) {
            let part = Model {
                n: chunk,
                input: model.input[start * d..][..chunk * d].to_vec(),
                weight: model.weight.clone(),
                target: model.target.slice(start..start + chunk),
                ..model
            };
            let part = part.backward(&logits[start * k..][..chunk * k]);
            let pairs = sum.iter_mut().zip(&part[2]);
            pairs.for_each(|(sum, g)| *sum = round(Dtype::BF16, *sum + g));
        }
        gradients[2] = sum;
        let found = findings(&model, &gradients, 5e-3);
        let weight = found.iter().find(|(wrt, _)| *wrt == Wrt::Weight);
        let finding = &weight.expect("errors of half a percent and more").1;
        assert_ne!(finding.code, Code::ToleranceTooTight, "{}", finding.message);
        beyond += usize::from(finding.message.contains("times that of a right gradient"));
        assert!(!finding.fix.contains("optimizer.step()"), "{}", finding.fix);
    }
    assert!(beyond > 0);
}
