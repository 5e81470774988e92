//! Sums over samples that are right, though their rounding errors do not average out.

use gradprobe::{
    check::{Options, Subject, check},
    device::Device,
    loss::{CrossEntropy, IGNORE_INDEX},
    problem::{Problem, Wrt},
    report::{Check, Verdict},
    tensor::{Dtype, Tensor},
};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::{framework::tensor, problems::normal};

/// Returns the softmax of a row of logits.
fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = z.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = terms.iter().sum();
    terms.into_iter().map(|term| term / sum).collect()
}

fn check_one(problem: &Problem, wrt: Wrt, gradient: Tensor) -> Check {
    let gradient = Some(gradient);
    let subjects = [Subject { wrt, gradient }];
    let device = Device::Cpu { note: None };
    let report = check(problem, &subjects, &Options::default(), &device, &mut ());
    report.unwrap().checks.remove(0)
}

/// Nearly all samples add the same small part of a smoothed target to a sum of a few labels. f32
/// rounds each of these additions to the same side.
#[test]
fn equal_parts_of_targets_may_all_round_to_the_same_side() {
    let (n, d, k) = (2000, 3, 40);
    let mut most = 0.0;
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [input, weight] = [n * d, k * d].map(|count| normal(&mut rng, count, 20.0));
        // The first samples have labels of their own.
        let labels: Vec<i64> = (0..n as i64)
            .map(|j| if j < k as i64 { j } else { 0 })
            .collect();
        let loss = CrossEntropy {
            label_smoothing: 0.01,
            ..CrossEntropy::default()
        };
        let problem = Problem::new(
            tensor(Dtype::F32, &[n, d], &input),
            tensor(Dtype::F32, &[k, d], &weight),
            Some(tensor(Dtype::F32, &[k], &vec![0.0; k])),
            &Tensor::from_classes(&labels),
            loss,
        );
        let problem = problem.unwrap();
        let (input, weight) = (
            problem.input().values::<f64>(),
            problem.weight_values::<f64>(),
        );
        let mut sums = vec![0.0f32; k];
        let mut exact = vec![0.0; k];
        let mut largest = vec![0.0f32; k];
        for (x, label) in input.chunks(d).zip(&labels) {
            let row = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            let p = softmax(&weight.chunks(d).map(row).collect::<Vec<f64>>());
            for c in 0..k {
                let one = if c as i64 == *label { 0.99 } else { 0.0 };
                let term = (p[c] - one - 0.01 / k as f64) / n as f64;
                sums[c] += term as f32;
                exact[c] += f64::from(term as f32);
                largest[c] = largest[c].max(sums[c].abs());
            }
        }
        for c in 0..k {
            let roundings = (f64::from(sums[c]) - exact[c]).abs() / f64::from(largest[c]);
            most = f64::max(most, roundings / f64::from(f32::EPSILON / 2.0));
        }
        let checked = check_one(&problem, Wrt::Bias, Tensor::from_f32(&[k], &sums));
        assert_eq!(checked.verdict, Verdict::Pass, "{:?}", checked.worst[0]);
    }
    let independent = 2.4 * (n as f64).sqrt();
    assert!(most > 1.5 * independent, "only {most} roundings");
}

/// The squares of the only sample's terms underflow. No other error averages its error out.
#[test]
fn the_error_of_a_single_sample_is_not_averaged() {
    let (n, d, k) = (100, 8, 10);
    let (mut most, mut underflows) = (0.0, 0);
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [input, weight] = [n * d, k * d].map(|count| normal(&mut rng, count, 10.0));
        let labels: Vec<i64> = (0..n)
            .map(|j| if j == 7 { 1 } else { IGNORE_INDEX })
            .collect();
        let problem = Problem::new(
            Tensor::from_f64(&[n, d], &input),
            Tensor::from_f64(&[k, d], &weight),
            None,
            &Tensor::from_classes(&labels),
            CrossEntropy::default(),
        );
        let problem = problem.unwrap();
        let x = &input[7 * d..8 * d];
        // The logits are off by a rounding, as a sum in another order may be.
        let row = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let z = weight.chunks(d).map(row).map(|z| z * (1.0 + f64::EPSILON));
        let p = softmax(&z.collect::<Vec<f64>>());
        let term = |c: usize| p[c] - if c == 1 { 1.0 } else { 0.0 };
        let gradient = (0..k).flat_map(|c| x.iter().map(move |x| (c, x)));
        let gradient: Vec<f64> = gradient.map(|(c, x)| term(c) * x).collect();
        let checked = check_one(&problem, Wrt::Weight, Tensor::from_f64(&[k, d], &gradient));
        assert_ne!(checked.verdict, Verdict::Fail, "{:?}", checked.worst[0]);
        underflows += p.iter().filter(|p| **p > 0.0 && **p * **p == 0.0).count();
        let worst = &checked.worst[0];
        let error = (worst.analytic - worst.numeric).abs();
        most = f64::max(most, error / (worst.tolerance + worst.noise));
    }
    assert!(underflows > 20 && most > 0.05, "{underflows}, {most}");
}
