//! Properties of every problem.

use crate::problems::random;
use gradprobe::{
    check::{self, Options, Subject},
    device::Device,
    loss::{Reduction, Target},
    problem::{Problem, Wrt},
    report::{Report, Verdict},
    scheme::Method,
    tensor::Tensor,
};
use proptest::prelude::*;

const CPU: Device = Device::Cpu { note: None };

fn run(problem: &Problem, wrt: Wrt, gradient: Option<Vec<f64>>, options: &Options) -> Report {
    let shape = problem.gradient_shape(wrt);
    let gradient = gradient.map(|values| Tensor::from_f64(&shape, &values));
    check::check(
        problem,
        &[Subject { wrt, gradient }],
        options,
        &CPU,
        &mut (),
    )
    .unwrap()
}

/// Returns the problem with `shift` added to every bias.
fn with_bias(problem: &Problem, shift: f64) -> Problem {
    let bias: Vec<f64> = problem
        .bias::<f64>()
        .into_iter()
        .map(|b| b + shift)
        .collect();
    let Target::Classes(target) = problem.target() else {
        panic!("classes")
    };
    Problem::new(
        problem.input().clone(),
        problem.weight().clone(),
        Some(Tensor::from_f64(&[problem.k()], &bias)),
        &Tensor::from_classes(target),
        problem.loss().clone(),
    )
    .unwrap()
}

fn sizes() -> impl Strategy<Value = (u64, usize, usize, usize, f64)> {
    (
        any::<u64>(),
        1..20usize,
        1..20usize,
        2..20usize,
        prop::sample::select(vec![0.01, 1.0, 30.0]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_built_in_gradient_passes((seed, n, d, k, scale) in sizes()) {
        let problem = random(seed, n, d, k, scale, Reduction::Mean);
        for wrt in Wrt::ALL {
            let report = run(&problem, wrt, None, &Options::default());
            let check = &report.checks[0];
            prop_assert_eq!((check.wrong, check.undecided), (0, 0), "{:?}", check.worst[0]);
            prop_assert_ne!(report.verdict, Verdict::Fail);
            // If all samples are saturated, a gradient of zeros passes as well.
            let blind = !check.blind_to.is_empty();
            prop_assert!(report.verdict == Verdict::Pass || blind);
            let errors = &check.rel_err;
            prop_assert!(errors.median <= errors.p99 && errors.p99 <= errors.max, "{errors:?}");
        }
    }

    #[test]
    fn no_step_and_no_method_fails_a_right_gradient(
        (seed, n, d, k, scale) in sizes(),
        exponent in -8.0..-1.0f64,
    ) {
        let problem = random(seed, n, d, k, scale, Reduction::Sum);
        for method in [Method::Difference, Method::ForwardPass] {
            for wrt in Wrt::ALL {
                let eps = Some(10f64.powf(exponent));
                let options = Options { method, eps, ..Options::default() };
                let report = run(&problem, wrt, None, &options);
                let worst = &report.checks[0].worst[0];
                prop_assert_ne!(report.verdict, Verdict::Fail, "{:?}", worst);
            }
        }
    }

    /// A constant added to all logits changes neither the loss nor its gradients.
    #[test]
    fn a_shift_of_the_logits_changes_nothing(
        (seed, n, d, k, scale) in sizes(),
        shift in -50.0..50.0f64,
    ) {
        let problem = random(seed, n, d, k, scale, Reduction::Mean);
        let shifted = with_bias(&problem, shift);
        let gradient = gradprobe::cpu::Cpu::new(&problem, plan(&problem)).backward(0..n);
        let report = run(&shifted, Wrt::Input, Some(gradient), &Options::default());
        prop_assert_eq!(report.checks[0].wrong, 0, "{:?}", report.checks[0].worst[0]);
    }

    /// Rows of p - y sum to 0.
    #[test]
    fn rows_of_the_logits_gradient_sum_to_zero((seed, n, d, k, scale) in sizes()) {
        let problem = random(seed, n, d, k, scale, Reduction::Sum);
        let plan = gradprobe::plan::Plan { wrt: Wrt::Logits, ..plan(&problem) };
        for row in gradprobe::cpu::Cpu::new(&problem, plan).backward(0..n).chunks_exact(k) {
            let magnitude: f64 = row.iter().map(|v| v.abs()).sum();
            prop_assert!(row.iter().sum::<f64>().abs() <= 1e-15 * k as f64 * magnitude);
        }
    }

    /// One entry that is off by more than the tolerance is the only one found wrong.
    #[test]
    fn one_wrong_entry_is_found(
        (seed, n, d, k, scale) in sizes(),
        at in any::<prop::sample::Index>(),
    ) {
        let problem = random(seed, n, d, k, scale, Reduction::Mean);
        let cpu = gradprobe::cpu::Cpu::new(&problem, plan(&problem));
        let mut gradient = cpu.backward(0..n);
        let entry = at.index(gradient.len());
        gradient[entry] += 1e-9 * cpu.evaluate(0..n).bounds.conditioning[entry];
        let report = run(&problem, Wrt::Input, Some(gradient), &Options::default());
        let check = &report.checks[0];
        prop_assert_eq!((report.verdict, check.wrong), (Verdict::Fail, 1));
        let worst = &check.worst[0];
        prop_assert_eq!(&worst.index, &vec![entry / d, entry % d]);
    }
}

fn plan(problem: &Problem) -> gradprobe::plan::Plan {
    use gradprobe::{plan::Plan, scheme::Precision};
    Plan::new(problem, Wrt::Input, None, Precision::F64)
}
