//! Consistency of the gradients of one file: relations that hold for one linear layer under any
//! loss, because the layer's backward pass computes the others from the logits' gradient G.
//!
//! | gradient | follows from G as |
//! |---|---|
//! | input | G · weight |
//! | weight | Gᵀ · input |
//! | bias | the sum of G over the samples |
//!
//! Without G, a gradient of the input must still be a combination of the rows of the weight.

use super::least_squares::orthonormal;
use crate::{
    budget,
    cpu::{matmul::matmul, outer::outer},
    problem::{Problem, Wrt},
    report::{Check, Relation},
    tensor::{Dtype, Tensor},
};

/// Roundings of the two operands, the result and the prediction. Chosen.
const ROUNDINGS: f64 = 4.0;
/// Largest error of the sum of m terms, in units of sqrt(m) roundings. Chosen.
const DRIFT: f64 = 4.0;
/// Share of equally signed terms' roundings that a sum over samples may keep: see
/// [`drift`](crate::rounding::drift).
const ONE_SIDED: f64 = 0.25;
/// Largest norm of the bounds, relative to the gradient, that still allows a decision. Chosen.
const LARGEST_BOUND: f64 = 0.25;
/// Share of a gradient outside the span of the weight's rows up to which it lies in it, and from
/// which it does not; in half precision, and in wider types. Chosen: rounding leaves u·|G|·|W|,
/// which is large against the gradient if terms cancel.
const SPAN: [[f64; 2]; 2] = [[0.02, 0.2], [1e-4, 0.05]];
/// Least share of random errors that lies outside the span. Chosen.
const LEAST_OUTSIDE: f64 = 0.2;
/// Samples or classes whose terms are added at a time. Chosen.
const STRIP: usize = 64;

/// One side of a relation at the rows that are compared, and the magnitudes behind each entry.
struct Predicted {
    rows: Vec<usize>,
    values: Vec<f64>,
    magnitudes: Vec<f64>,
    /// Terms of the longest sum.
    terms: usize,
    /// The largest magnitude of the factors of G.
    largest: f64,
}

/// Compares the gradients of one problem with each other. `checks` names the entries whose rows are
/// worth comparing.
pub fn relations(
    problem: &Problem,
    gradients: &[(Wrt, Tensor)],
    checks: &[Check],
) -> Vec<Relation> {
    let of = |wrt| gradients.iter().find(|(it, _)| *it == wrt).map(|it| &it.1);
    let logits = of(Wrt::Logits);
    let others = [Wrt::Input, Wrt::Weight, Wrt::Bias].into_iter();
    let others = others.filter_map(|wrt| Some((wrt, of(wrt)?)));
    others
        .filter_map(|(wrt, gradient)| match logits {
            Some(logits) => {
                let worst = worst_rows(problem, wrt, checks);
                Some(with_logits(problem, wrt, gradient, logits, &worst))
            }
            None if wrt == Wrt::Input => in_span(problem, gradient),
            None => None,
        })
        .collect()
}

/// Returns the rows of the worst entries, counted from the first row of the problem.
fn worst_rows(problem: &Problem, wrt: Wrt, checks: &[Check]) -> Vec<usize> {
    let first = if wrt.is_parameter() {
        0
    } else {
        problem.first_row()
    };
    let checks = checks.iter();
    let checks = checks.filter(|check| [wrt, Wrt::Logits].contains(&check.wrt));
    // The tally has rows of the matrix; a check has places in the user's own shape.
    let worst = checks
        .filter(|check| check.wrt == wrt || !wrt.is_parameter())
        .filter_map(Check::tally)
        .flat_map(|tally| &tally.kept.worst);
    worst
        .filter_map(|entry| entry.index[0].checked_sub(first))
        .filter(|row| *row < problem.rows(wrt))
        .collect()
}

/// Compares a gradient with its product of the logits' gradient.
fn with_logits(
    problem: &Problem,
    wrt: Wrt,
    gradient: &Tensor,
    logits: &Tensor,
    worst: &[usize],
) -> Relation {
    let formula = match wrt {
        Wrt::Input | Wrt::Logits => "grad_logits · weight",
        Wrt::Weight => "grad_logitsᵀ · input",
        Wrt::Bias => "the sum of the rows of grad_logits",
    };
    let mut relation = Relation {
        wrt,
        formula: formula.to_owned(),
        holds: None,
        error: None,
        rows: 0,
        of: problem.rows(wrt),
    };
    let Some(rows) = budget::related_rows(problem, wrt) else {
        return relation;
    };
    let rows = chosen(rows, problem.rows(wrt), worst);
    let predicted = match wrt {
        Wrt::Input | Wrt::Logits => through_weight(problem, logits, rows),
        Wrt::Weight | Wrt::Bias => over_samples(problem, wrt, logits, rows),
    };
    relation.rows = predicted.rows.len();
    let given = gradient.gather(&predicted.rows).values::<f64>();
    let allowed = predicted.allowed(wrt, &given, gradient.dtype(), logits.dtype());
    (relation.holds, relation.error) = compare(&given, &predicted.values, &allowed);
    relation
}

/// Returns about `most` of `all` rows in order, those of the worst entries among them.
fn chosen(most: usize, all: usize, worst: &[usize]) -> Vec<usize> {
    if most >= all {
        return (0..all).collect();
    }
    let mut rows: Vec<usize> = worst.iter().copied().take(most / 2).collect();
    rows.extend((0..most - rows.len()).map(|i| i * all / most));
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Returns G · weight, a strip of classes at a time.
fn through_weight(problem: &Problem, logits: &Tensor, rows: Vec<usize>) -> Predicted {
    let (d, k) = (problem.d(), problem.k());
    let left = logits.gather(&rows).values::<f64>();
    let mut predicted = Predicted::new(rows, d, k);
    for start in (0..k).step_by(STRIP) {
        let classes = start..k.min(start + STRIP);
        let part = left.chunks_exact(k);
        let part: Vec<f64> = part
            .flat_map(|row| &row[classes.clone()])
            .copied()
            .collect();
        let weight = problem.weight().rows::<f64>(classes);
        let product = |left: &[f64], right: &[f64]| matmul(left, right, d);
        predicted.add(&part, &weight, product);
    }
    predicted
}

/// Returns Gᵀ · input at some classes, or the sum of G for the bias, a strip of samples at a time.
fn over_samples(problem: &Problem, wrt: Wrt, logits: &Tensor, classes: Vec<usize>) -> Predicted {
    let (n, k, columns) = (problem.n(), problem.k(), problem.columns(wrt));
    let mut predicted = Predicted::new(classes, columns, n);
    for start in (0..n).step_by(STRIP) {
        let samples = start..n.min(start + STRIP);
        let right = match wrt {
            Wrt::Bias => vec![1.0; samples.len()],
            _ => problem.input().rows::<f64>(samples.clone()),
        };
        let left = logits.rows::<f64>(samples);
        let classes = &predicted.rows;
        let left: Vec<f64> = left
            .chunks_exact(k)
            .flat_map(|row| classes.iter().map(|&class| row[class]))
            .collect();
        let count = classes.len();
        let product = |left: &[f64], right: &[f64]| outer(left, right, count, columns);
        predicted.add(&left, &right, product);
    }
    predicted
}

impl Predicted {
    fn new(rows: Vec<usize>, columns: usize, terms: usize) -> Self {
        let entries = rows.len() * columns;
        Self {
            rows,
            values: vec![0.0; entries],
            magnitudes: vec![0.0; entries],
            terms,
            largest: 0.0,
        }
    }

    /// Adds the product of a strip of G with its factors.
    fn add(&mut self, left: &[f64], right: &[f64], product: impl Fn(&[f64], &[f64]) -> Vec<f64>) {
        let add = |sums: &mut [f64], terms: Vec<f64>| {
            let sums = sums.iter_mut().zip(terms);
            sums.for_each(|(sum, term)| *sum += term);
        };
        let magnitudes = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
        add(&mut self.values, product(left, right));
        let right = magnitudes(right);
        add(&mut self.magnitudes, product(&magnitudes(left), &right));
        self.largest = right.into_iter().fold(self.largest, f64::max);
    }

    /// Returns the largest difference that rounding explains, for each entry of a gradient of type
    /// `dtype` that was computed from logits' gradients of another type.
    ///
    /// Operands and result are rounded to their types; sums of half-precision terms are taken in
    /// f32. A wider type may hold values that were rounded before.
    fn allowed(&self, wrt: Wrt, given: &[f64], dtype: Dtype, of_logits: Dtype) -> Vec<f64> {
        let dtype = narrowest(given, dtype);
        let stored = dtype.unit_roundoff().max(of_logits.unit_roundoff());
        let summed = if dtype == Dtype::F64 && of_logits == Dtype::F64 {
            Dtype::F64
        } else {
            Dtype::F32
        };
        let (summed, terms) = (summed.unit_roundoff(), self.terms as f64);
        let one_sided = if wrt.is_parameter() {
            ONE_SIDED * terms * summed
        } else {
            0.0
        };
        let by_size = ROUNDINGS * stored + DRIFT * terms.sqrt() * summed;
        // Each stored derivative of a logit may have lost as much to underflow.
        let smallest = dtype.smallest_kept().max(of_logits.smallest_kept());
        let floor = smallest * (1.0 + terms * self.largest);
        let entries = self.values.iter().zip(&self.magnitudes);
        entries
            .map(|(value, size)| by_size * size + one_sided * value.abs() + floor)
            .collect()
    }
}

/// Returns the narrowest type that holds all of these values of type `dtype`.
fn narrowest(values: &[f64], dtype: Dtype) -> Dtype {
    let narrower = [Dtype::BF16, Dtype::F16, Dtype::F32];
    let narrower = narrower.into_iter().filter(|it| it.size() < dtype.size());
    let holds_all = |it: &Dtype| values.iter().all(|value| it.round(*value) == *value);
    narrower.into_iter().find(holds_all).unwrap_or(dtype)
}

/// Compares two sides of a relation. Returns its answer, and the relative error.
fn compare(given: &[f64], predicted: &[f64], allowed: &[f64]) -> (Option<bool>, Option<f64>) {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let errors = given.iter().zip(predicted).map(|(a, p)| a - p);
    let error = norm(&mut errors.clone()) / norm(&mut predicted.iter().copied());
    let is_broken = errors
        .zip(allowed)
        .any(|(e, allowed)| !(e.abs() <= *allowed));
    let bound = norm(&mut allowed.iter().copied());
    let is_decided = bound <= LARGEST_BOUND * norm(&mut given.iter().copied());
    let holds = if is_broken {
        Some(false)
    } else {
        is_decided.then_some(true)
    };
    (holds, error.is_finite().then_some(error))
}

/// Examines a gradient of the input without one of the logits: any loss gives a combination of the
/// rows of the weight. Returns `None` if that excludes nothing.
fn in_span(problem: &Problem, gradient: &Tensor) -> Option<Relation> {
    let (d, k) = (problem.d(), problem.k());
    // The softmax of one class is 1, whatever the weight.
    if k >= d || k == 1 || !budget::is_span_affordable(problem) {
        return None;
    }
    let rows = budget::related_rows(problem, Wrt::Input)?;
    let weight = problem.weight().values::<f64>();
    let by_feature = (0..d).flat_map(|i| (0..k).map(move |c| (c, i)));
    let basis = orthonormal(by_feature.map(|(c, i)| weight[c * d + i]).collect(), k);
    if (1.0 - basis.len() as f64 / d as f64).sqrt() < LEAST_OUTSIDE {
        return None;
    }
    let rows = chosen(rows, problem.n(), &[]);
    let given = gradient.gather(&rows).values::<f64>();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let square = |row: &[f64]| dot(row, row);
    let (mut outside, mut all) = (0.0, 0.0);
    for row in given.chunks_exact(d) {
        let mut rest = row.to_vec();
        for direction in &basis {
            let along = dot(row, direction);
            let pairs = rest.iter_mut().zip(direction);
            pairs.for_each(|(rest, direction)| *rest -= along * direction);
        }
        outside += square(&rest);
        all += square(row);
    }
    let share = (outside / all).sqrt();
    let is_half = narrowest(&given, gradient.dtype()).is_half();
    let [inside, beyond] = SPAN[usize::from(!is_half)];
    Some(Relation {
        wrt: Wrt::Input,
        formula: "a combination of the rows of weight".to_owned(),
        holds: match share {
            share if share <= inside => Some(true),
            share if share >= beyond => Some(false),
            _ => None,
        },
        error: share.is_finite().then_some(share),
        rows: rows.len(),
        of: problem.n(),
    })
}
