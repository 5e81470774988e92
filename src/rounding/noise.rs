//! The bound on the error of the numeric gradient: truncation, rounding and underflow.
//!
//! With c the conditioning of an entry, u the unit roundoff of the working precision, A the largest
//! magnitude of the row and Z the normalizer, the bound is the sum of these:
//!
//! 1. Truncation: [`Scheme::truncation`](crate::scheme::Scheme::truncation) times S <= c / sums,
//!    for both methods.
//! 2. Rounding by `difference`: the rounding model itself, `LOGITS`·u·c, because its sums are those
//!    of any backward pass. If c was computed for a gradient in half precision, whose logits are
//!    rounded once, this engine's own T is bounded by 2·A·S.
//! 3. Rounding by `forward-pass`: each loss is off by at most u times the magnitudes behind its
//!    logits, and the subtraction divides that by eps.
//! 4. Underflow: [`underflow_floor`] of the working precision. Underflow in a loss is divided by
//!    eps, like the rounding of a loss.

use serde::{Deserialize, Serialize};

use super::{RoundingModel, additions, underflow_floor};
use crate::{plan::Plan, problem::Problem, scheme::Method};

/// Lanes in which every engine sums a dot product. Each lane sums d/16 products in sequence.
const LANES: usize = 16;

/// The bound on the error of every entry of one numeric gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// Noise per unit of conditioning, for each column, [m].
    pub(crate) by_column: Vec<f64>,
    /// The truncation in it, [m].
    truncation: Vec<f64>,
    /// Noise per unit of conditioning and of the row's magnitude.
    by_magnitude: f64,
    /// Noise per unit of the row's magnitude and of its R.
    by_magnitude_and_total: f64,
    /// Noise per unit of the row's R.
    by_total: f64,
    /// Absolute noise of every entry.
    floor: f64,
    /// Noise per unit of |numeric|: see [`additions`].
    pub(crate) drift: f64,
}

impl Noise {
    /// Returns the noise of a numeric gradient whose errors are part of the tolerance, but for the
    /// conditioning itself.
    pub(crate) fn of_entries(columns: usize) -> Self {
        Self {
            by_column: vec![1.0; columns],
            truncation: vec![0.0; columns],
            by_magnitude: 0.0,
            by_magnitude_and_total: 0.0,
            by_total: 0.0,
            floor: 0.0,
            drift: 0.0,
        }
    }

    /// Bounds the numeric gradient of a plan, where samples have this multiplicity.
    pub(crate) fn new(problem: &Problem, plan: &Plan, multiplicity: f64) -> Self {
        let u = plan.precision.unit_roundoff();
        let (_, ranges) = problem.slopes(plan.wrt);
        let of_gradient = RoundingModel::of_gradient(problem, plan);
        let own = RoundingModel::new(plan.precision.dtype(), problem.k(), problem.equal_targets());
        let (rounding, by_magnitude) = match plan.method {
            Method::Difference if of_gradient.accumulation == 1.0 => {
                (RoundingModel::LOGITS * u * own.sums / of_gradient.sums, 0.0)
            }
            Method::Difference => (
                RoundingModel::LOGITS * u * own.sums,
                2.0 * RoundingModel::LOGITS * u,
            ),
            // Rounded points lie a little off centre, which costs at most u·T <= 2·u·A·S.
            Method::ForwardPass => (0.0, 2.0 * u),
        };
        let truncation = |range: f64| plan.scheme.truncation(plan.eps * range) / of_gradient.sums;
        let truncation: Vec<f64> = ranges.iter().map(|range| truncation(*range)).collect();
        let by_column = truncation.iter().map(|truncation| truncation + rounding);
        let (by_magnitude_and_total, by_total) = match plan.method {
            Method::Difference => (0.0, 0.0),
            Method::ForwardPass => of_losses(problem, plan),
        };
        Self {
            by_column: by_column.collect(),
            truncation,
            by_magnitude,
            by_magnitude_and_total,
            by_total,
            floor: underflow_floor(problem, plan.wrt, plan.precision.smallest_normal()),
            drift: drift(problem, plan, multiplicity) * u,
        }
    }

    /// Replaces each bound by the larger one.
    #[cfg(feature = "files")]
    pub(crate) fn raise(&mut self, other: &Self) {
        let raise = |bound: &mut f64, other: f64| *bound = bound.max(other);
        let all = |bounds: &mut [f64], others: &[f64]| {
            let pairs = bounds.iter_mut().zip(others);
            pairs.for_each(|(bound, other)| raise(bound, *other));
        };
        all(&mut self.by_column, &other.by_column);
        all(&mut self.truncation, &other.truncation);
        raise(&mut self.by_magnitude, other.by_magnitude);
        let by_both = &mut self.by_magnitude_and_total;
        raise(by_both, other.by_magnitude_and_total);
        raise(&mut self.by_total, other.by_total);
        raise(&mut self.floor, other.floor);
        raise(&mut self.drift, other.drift);
    }

    /// Returns a row's noise per unit of conditioning, on top of that of each column, and its
    /// absolute noise.
    pub(crate) fn of_row(&self, magnitude: f64, total: f64) -> (f64, f64) {
        let added = total * (magnitude * self.by_magnitude_and_total + self.by_total) + self.floor;
        (magnitude * self.by_magnitude, added)
    }

    /// Returns a function of the sum of all samples' conditioning, of the conditioning of samples
    /// that err independently, and of the noise of the additions. It returns the conditioning whose
    /// noise is that of the sum.
    pub(super) fn of_sum(
        &self,
        column: usize,
        magnitude: f64,
    ) -> impl Fn(f64, f64, f64) -> f64 + use<> {
        let (truncation, by_column) = (self.truncation[column], self.by_column[column]);
        let by_row = magnitude * self.by_magnitude;
        let has_losses = self.by_total > 0.0;
        move |all, errors, additions| {
            if has_losses {
                return all;
            }
            let rounding = by_column - truncation + by_row;
            (truncation * all + rounding * errors + additions) / (by_column + by_row)
        }
    }

    /// Returns the bound for an entry in `column`, without drift. `conditioning` is that of the
    /// entry, divided by Z; `magnitude` and `total`, R, are those of its row.
    pub(crate) fn bound(
        &self,
        column: usize,
        conditioning: f64,
        magnitude: f64,
        total: f64,
    ) -> f64 {
        let (by_row, added) = self.of_row(magnitude, total);
        conditioning * (self.by_column[column] + by_row) + added
    }
}

/// Returns the drift of a sum over samples in roundings. Losses are summed with compensation.
fn drift(problem: &Problem, plan: &Plan, multiplicity: f64) -> f64 {
    if !plan.wrt.is_parameter() || plan.method == Method::ForwardPass {
        return 0.0;
    }
    let chain = additions::chain(problem.sample_count());
    additions::drift(chain, multiplicity.min(chain)) / 2.0
}

/// Returns the noise in a derivative from the rounding of its losses: per unit of magnitude and R,
/// and per unit of R.
///
/// 1. logsumexp moves by no more than the logit that moves most. The same holds for the term that
///    is subtracted from it.
/// 2. exp, log and the sums over k terms add their own rounding.
fn of_losses(problem: &Problem, plan: &Plan) -> (f64, f64) {
    let u = plan.precision.unit_roundoff();
    let (d, k) = (problem.d() as f64, problem.k() as f64);
    // The error in the derivative per unit of error in each loss.
    let weight = plan.scheme.amplification() / (plan.eps * problem.normalizer());
    let terms = if problem.is_one_hot() { 0.0 } else { k.sqrt() };
    let by_magnitude_and_total = 2.0 * u * (d / LANES as f64 + 8.0 + terms);
    let loss = u * (k.ln() * (1.0 + terms) + k.min(64.0) + 8.0)
        + plan.precision.smallest_normal() * (k + 4.0);
    (by_magnitude_and_total * weight, loss * weight)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
    use rand_distr::StandardNormal;

    use super::*;
    use crate::{
        cpu::Cpu,
        device::Device,
        engine::{Engine, Evaluation},
        gpu,
        loss::CrossEntropy,
        plan::Differentiation,
        problem::Wrt,
        scheme::Precision,
        tensor::{Dtype, Tensor},
    };

    /// Draws a problem with logits of size `scale`. Saturated targets, two equal classes and a
    /// feature without weight occur with probability 1/4 each.
    fn draw(rng: &mut impl Rng, (n, d, k): (usize, usize, usize), scale: f64) -> Problem {
        let mut normal = |count: usize, scale: f64| -> Vec<f64> {
            (0..count)
                .map(|_| f64::from((rng.sample::<f64, _>(StandardNormal) * scale) as f32))
                .collect()
        };
        let (input, mut weight, bias) = (
            normal(n * d, 1.0),
            normal(k * d, scale / (d as f64).sqrt()),
            normal(k, scale),
        );
        let mut target: Vec<i64> = (0..n).map(|_| rng.random_range(0..k as i64)).collect();
        if rng.random_bool(0.25) {
            weight.copy_within(0..d, d);
        }
        if rng.random_bool(0.25) {
            (0..k).for_each(|c| weight[c * d] = 0.0);
        }
        if rng.random_bool(0.25) {
            let z = |j: usize, c: usize| {
                bias[c]
                    + (0..d)
                        .map(|i| input[j * d + i] * weight[c * d + i])
                        .sum::<f64>()
            };
            let largest = |j| (0..k).max_by(|&a, &b| z(j, a).total_cmp(&z(j, b))).unwrap() as i64;
            (0..n).for_each(|j| target[j] = largest(j));
        }
        let smoothing = [0.0, 0.0, 0.1][rng.random_range(0..3)];
        Problem::new(
            Tensor::from_f64(&[n, d], &input),
            Tensor::from_f64(&[k, d], &weight),
            Some(Tensor::from_f64(&[k], &bias)),
            &Tensor::from_classes(&target),
            CrossEntropy {
                label_smoothing: smoothing,
                ..CrossEntropy::default()
            },
        )
        .unwrap()
    }

    fn evaluate(engine: &mut dyn Engine, n: usize) -> Evaluation {
        assert!(
            engine.rows_per_call() >= n,
            "each problem is evaluated in one call"
        );
        engine.evaluate(0..n).unwrap()
    }

    /// Compares |numeric - exact| with the bound of every entry. Returns the number of entries, and
    /// the median bound over the RMS error.
    fn compare_with_bound(device: &Device, problem: &Problem, plan: Plan) -> (usize, f64) {
        let noise = Noise::new(problem, &plan, 1.0);
        let evaluation = evaluate(device.engine(problem, plan).unwrap().as_mut(), problem.n());
        let exact_plan = Plan {
            precision: Precision::F64,
            ..plan
        };
        let exact = Cpu::new(problem, exact_plan).backward(0..problem.n());
        let columns = problem.columns(plan.wrt);
        // The reference is rounded too: its own rounding model is added to the bound.
        let u = Dtype::F64.unit_roundoff();
        let (mut bounds, mut squares) = (Vec::new(), 0.0);
        for (entry, (numeric, exact)) in evaluation
            .clone()
            .numeric(&plan, problem.normalizer())
            .iter()
            .zip(&exact)
            .enumerate()
        {
            let (row, column) = (entry / columns, entry % columns);
            let conditioning = evaluation.bounds.conditioning[entry] / problem.normalizer();
            let (magnitude, total) = (
                evaluation.bounds.magnitude[row],
                evaluation.bounds.totals[row],
            );
            let bound = noise.bound(column, conditioning, magnitude, total);
            let error = (numeric - exact).abs();
            assert!(
                error <= bound + RoundingModel::LOGITS * u * conditioning,
                "{} {plan:?} n = {}, d = {}, k = {}, entry {entry}: {error:e} > {bound:e}",
                device.info().name,
                problem.n(),
                problem.d(),
                problem.k()
            );
            bounds.push(bound);
            squares += error * error;
        }
        bounds.sort_by(f64::total_cmp);
        let rms = (squares / bounds.len() as f64).sqrt();
        (bounds.len(), bounds[bounds.len() / 2] / rms)
    }

    const SHAPES: [(usize, usize, usize); 7] = [
        (1, 1, 2),
        (3, 1024, 2),
        (4096, 1, 3),
        (64, 32, 10),
        (7, 64, 1000),
        (300, 100, 50),
        (4096, 64, 10),
    ];

    const WAYS: [(Method, Precision); 4] = [
        (Method::Difference, Precision::F32),
        (Method::Difference, Precision::F64),
        (Method::ForwardPass, Precision::F32),
        (Method::ForwardPass, Precision::F64),
    ];

    fn devices() -> Vec<Device> {
        let adapters = gpu::adapters();
        let opened = adapters.iter().map(|adapter| adapter.open().unwrap());
        let gpus = opened.map(|device| Device::Gpu(Box::new(device)));
        std::iter::once(Device::Cpu { note: None })
            .chain(gpus)
            .collect()
    }

    /// Returns true if the device has the precision, and the work takes seconds at most.
    fn is_affordable(
        device: &Device,
        (method, precision): (Method, Precision),
        (n, d, k): (usize, usize, usize),
    ) -> bool {
        let (has_f64, most) = match device {
            Device::Cpu { .. } => (true, 1 << 27),
            Device::Gpu(device) => (device.has_f64(), 1 << 25),
        };
        let work = match method {
            Method::Difference => n * d * k,
            Method::ForwardPass => n * d * d * k,
        };
        (precision == Precision::F32 || has_f64) && work <= most
    }

    /// Covers more than a million entries by both methods, in both precisions, at every sensible
    /// step.
    #[test]
    fn the_bound_holds_for_every_entry_and_is_at_most_100_times_too_large() {
        let devices = devices();
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut entries = 0;
        let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (round, shape) in (0..4).flat_map(|round| SHAPES.map(|shape| (round, shape))) {
            let scale = 10f64.powf(rng.random_range(-2.0..2.0));
            let problem = draw(&mut rng, shape, scale);
            let ways = devices.iter().flat_map(|it| WAYS.map(|way| (it, way)));
            for (device, way) in ways.filter(|(it, way)| is_affordable(it, *way, shape)) {
                let given = round % 2 == 1;
                let eps = given.then(|| 10f64.powf(rng.random_range(-5.0..-2.0)));
                for wrt in [Wrt::Input, Wrt::Logits] {
                    let (method, precision) = way;
                    let derivative = Differentiation::from(wrt).by(method);
                    let plan = Plan::new(&problem, derivative, eps, precision);
                    let (count, ratio) = compare_with_bound(device, &problem, plan);
                    entries += count;
                    if ratio.is_finite() && eps.is_none() {
                        let name = format!("{method:?} {precision:?}");
                        ratios.entry(name).or_default().push(ratio);
                    }
                }
            }
        }
        assert!(entries > 1_000_000, "{entries}");
        println!("{entries} entries");
        for (name, mut ratios) in ratios {
            ratios.sort_by(f64::total_cmp);
            let median = ratios[ratios.len() / 2];
            println!("{name}: the median bound is {median:.0} times the RMS error");
            assert!(median <= 100.0, "{name}: {median}");
        }
    }
}
