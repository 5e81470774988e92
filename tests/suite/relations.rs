//! Several gradients of one file: the relations between them, and the conclusions for a gradient
//! whose cause is unknown.

use gradprobe::{
    diagnose::relations,
    problem::Wrt,
    report::{Check, Code, Report, Verdict},
    tensor::Dtype,
};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::{framework::round, model::Model, problems::normal};

const SHAPES: [(usize, usize, usize); 5] = [
    (6, 8, 3),
    (64, 20, 5),
    (300, 7, 12),
    (40, 33, 2),
    (33, 300, 70),
];

fn of(report: &Report, wrt: Wrt) -> &Check {
    report.checks.iter().find(|check| check.wrt == wrt).unwrap()
}

fn holds(report: &Report) -> Vec<(Wrt, Option<bool>)> {
    let relations = report.relations.iter();
    relations.map(|it| (it.wrt, it.holds)).collect()
}

#[test]
fn a_right_backward_pass_keeps_every_relation() {
    let dtypes = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
    let mut decided = 0;
    for (seed, (shape, dtype)) in SHAPES
        .into_iter()
        .flat_map(|shape| dtypes.map(|dtype| (shape, dtype)))
        .enumerate()
    {
        let mut model = Model::random(seed as u64, dtype, shape);
        if seed % 3 == 0 {
            // Alike samples: every rounding of a sum errs to the same side.
            model.input.iter_mut().for_each(|x| *x = 1.0);
        }
        let gradients = model.backward(&model.logits_gradient());
        let found = relations(&model.problem(), &model.tensors(&gradients), &[]);
        assert_eq!(found.len(), 3);
        for relation in found {
            assert_ne!(
                relation.holds,
                Some(false),
                "{shape:?} {dtype} {relation:?}"
            );
            assert_eq!(relation.rows, relation.of);
            decided += usize::from(relation.holds == Some(true));
        }
    }
    assert!(decided > 40, "{decided}");
}

#[test]
fn a_wrong_loss_is_told_from_a_wrong_layer() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let model = Model::random(seed as u64, Dtype::F32, shape);
        let mut logits = model.logits_gradient();
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        // No loss of the catalogue: cubed derivatives.
        let noise = normal(&mut rng, logits.len(), 0.01);
        let pairs = logits.iter_mut().zip(noise);
        pairs.for_each(|(g, noise)| *g = round(Dtype::F32, g.powi(3) * 40.0 + noise));
        let gradients = model.backward(&logits);
        let report = model.check(&gradients, &Wrt::ALL);
        let all = [Wrt::Input, Wrt::Weight, Wrt::Bias].map(|wrt| (wrt, Some(true)));
        assert_eq!(holds(&report), all, "{shape:?}");
        let fix = &of(&report, Wrt::Input).findings[0].fix;
        assert!(fix.contains("look at the loss"), "{shape:?} {fix}");

        // Without the logits' gradient, the span of the weight's rows shows the same.
        let (_, d, k) = shape;
        if k < d {
            let report = model.check(&gradients, &[Wrt::Input]);
            assert_eq!(holds(&report), [(Wrt::Input, Some(true))], "{shape:?}");
        }
    }
}

#[test]
fn a_layer_in_between_leaves_the_span_of_the_weight() {
    for seed in 0..10 {
        let model = Model::random(seed, Dtype::F32, (64, 20, 5));
        let mut gradients = model.backward(&model.logits_gradient());
        // The gradient of another layer's input, of the same shape.
        gradients[0] = normal(&mut ChaCha8Rng::seed_from_u64(seed + 99), 64 * 20, 0.01);
        let report = model.check(&gradients, &[Wrt::Input]);
        assert_eq!(holds(&report), [(Wrt::Input, Some(false))]);
        let finding = &of(&report, Wrt::Input).findings[0];
        assert_eq!(finding.code, Code::Unknown);
        for text in [
            "combination of the rows of weight",
            "one linear layer",
            "dropout",
        ] {
            assert!(finding.fix.contains(text), "{}", finding.fix);
        }
    }
}

#[test]
fn a_parameter_that_was_not_cleared_holds_more_than_this_batch() {
    for (seed, dtype) in [Dtype::F32, Dtype::F64, Dtype::BF16]
        .into_iter()
        .enumerate()
    {
        let model = Model::random(seed as u64, dtype, (64, 30, 6));
        let mut gradients = model.backward(&model.logits_gradient());
        for earlier in 1..4 {
            let batch = Model {
                weight: model.weight.clone(),
                ..Model::random(100 * earlier + seed as u64, dtype, (64, 30, 6))
            };
            let before = batch.backward(&batch.logits_gradient());
            for parameter in 2..4 {
                let pairs = gradients[parameter].iter_mut().zip(&before[parameter]);
                pairs.for_each(|(sum, g)| *sum = round(dtype, *sum + g));
            }
        }
        let report = model.check(&gradients, &Wrt::ALL);
        assert_eq!(of(&report, Wrt::Logits).verdict, Verdict::Pass);
        for wrt in [Wrt::Weight, Wrt::Bias] {
            let finding = &of(&report, wrt).findings[0];
            assert!(finding.fix.contains("zero_grad()"), "{}", finding.fix);
            assert!(finding.fix.contains("earlier batches"), "{}", finding.fix);
        }
        let without_logits = model.check(&gradients, &[Wrt::Input, Wrt::Weight]);
        let fix = &of(&without_logits, Wrt::Weight).findings[0].fix;
        assert!(fix.starts_with("grad is right"), "{fix}");
    }
}

/// Weights after an optimizer step that is no multiple of the gradient, and gradients of before.
#[test]
fn weights_of_another_step_break_one_relation_only() {
    for seed in 0..6 {
        let model = Model::random(seed, Dtype::F32, (64, 20, 5));
        let gradients = model.backward(&model.logits_gradient());
        let step = gradients[2].iter().map(|g| -3e-3 * g.signum());
        let weight = model.weight.iter().zip(step);
        let after = Model {
            weight: weight
                .map(|(w, step)| round(Dtype::F32, w + step))
                .collect(),
            ..model
        };
        let report = after.check(&gradients, &[Wrt::Input, Wrt::Logits, Wrt::Weight]);
        let expected = [(Wrt::Input, Some(false)), (Wrt::Weight, Some(true))];
        assert_eq!(holds(&report), expected);
        let fix = &of(&report, Wrt::Input).findings[0].fix;
        assert!(fix.contains("optimizer.step()"), "{fix}");
        let alone = after.check(&gradients, &[Wrt::Input]);
        let finding = &of(&alone, Wrt::Input).findings[0];
        assert!(finding.fix.contains("optimizer.step()"), "{}", finding.fix);
        assert!(
            finding.message.contains("the same way"),
            "{}",
            finding.message
        );
    }
}

/// Passes that were summed while Adam moved the weights.
#[test]
fn an_unknown_large_factor_suggests_passes() {
    for (seed, passes) in [(1u64, 30usize), (2, 12), (3, 80)] {
        let mut model = Model::random(seed, Dtype::F32, (200, 30, 6));
        let mut sum = vec![0.0; 200 * 30];
        for pass in 0..passes {
            let gradients = model.backward(&model.logits_gradient());
            let pairs = sum.iter_mut().zip(&gradients[0]);
            pairs.for_each(|(sum, g)| *sum += g);
            if pass + 1 < passes {
                let pairs = model.weight.iter_mut().zip(&gradients[2]);
                pairs.for_each(|(w, g)| *w = round(Dtype::F32, *w - 1e-3 * g.signum()));
            }
        }
        let mut gradients = model.backward(&model.logits_gradient());
        gradients[0] = sum.iter().map(|g| round(Dtype::F32, *g)).collect();
        let report = model.check(&gradients, &[Wrt::Input]);
        let finding = &of(&report, Wrt::Input).findings[0];
        let text = format!("{}: {} {}", finding.code, finding.message, finding.fix);
        assert!(text.contains("accumulated"), "{text}");
        assert!(text.contains("x.grad = None"), "{text}");
    }
}

/// A script without any zero_grad(). The bias shows one factor, which the weight's passes explain.
#[test]
fn parameters_that_were_summed_together_have_one_cause() {
    for seed in 0..6 {
        let mut model = Model::random(seed, Dtype::F32, (10, 4, 2));
        let mut sums: [Vec<f64>; 4] = Default::default();
        for pass in 0..10 {
            let gradients = model.backward(&model.logits_gradient());
            for (sum, gradient) in sums.iter_mut().zip(&gradients) {
                sum.resize(gradient.len(), 0.0);
                let pairs = sum.iter_mut().zip(gradient);
                pairs.for_each(|(sum, g)| *sum = round(Dtype::F32, *sum + g));
            }
            if pass < 9 {
                let pairs = model.weight.iter_mut().zip(&sums[2]);
                pairs.for_each(|(w, g)| *w = round(Dtype::F32, *w - 1e-3 * g));
            }
        }
        sums[1] = model.logits_gradient();
        let report = model.check(&sums, &Wrt::ALL);
        let first = |wrt| &of(&report, wrt).findings[0];
        let [weight, bias] = [Wrt::Weight, Wrt::Bias].map(first);
        let text = format!(
            "{}: {}; {}: {}",
            weight.code, weight.message, bias.code, bias.message
        );
        assert_eq!(
            (weight.code, bias.code),
            (Code::Accumulated, Code::Accumulated),
            "{text}"
        );
        assert!(bias.fix.contains("layer.bias.grad"), "{}", bias.fix);
    }
}

/// One output is the habit of binary cross-entropy; the softmax of one logit has no gradient.
#[test]
fn one_class_is_explained() {
    let model = Model::random(5, Dtype::F32, (64, 20, 1));
    let mut gradients = model.backward(&model.logits_gradient());
    gradients[0] = normal(&mut ChaCha8Rng::seed_from_u64(6), 64 * 20, 0.01);
    let report = model.check(&gradients, &[Wrt::Input]);
    let finding = &of(&report, Wrt::Input).findings[0];
    assert!(
        finding.fix.contains("binary cross-entropy"),
        "{}",
        finding.fix
    );
    let numbers = finding.evidence.iter().map(|(_, number)| *number);
    assert!(
        numbers.into_iter().all(f64::is_finite),
        "{:?}",
        finding.evidence
    );
    assert!(!finding.message.contains("NaN"), "{}", finding.message);
}

#[test]
fn nothing_is_compared_if_every_gradient_is_right() {
    let model = Model::random(0, Dtype::F32, (64, 20, 5));
    let gradients = model.backward(&model.logits_gradient());
    let report = model.check(&gradients, &Wrt::ALL);
    assert_eq!((report.verdict, report.relations.len()), (Verdict::Pass, 0));
}
