//! The exact gradient of a problem, and the distance of another from it.

use gradprobe::problem::{Problem, Wrt};

/// Computes the gradient in f64 by the chain rule: (R softmax(z) - r) / Z for the logits, times W
/// for the input. Shares no code with the engines.
pub(crate) fn exact(problem: &Problem, wrt: Wrt) -> Vec<f64> {
    let (n, d, k) = (problem.n(), problem.d(), problem.k());
    let (x, w) = (
        problem.input().values::<f64>(),
        problem.weight().values::<f64>(),
    );
    let bias = problem.bias::<f64>();
    let normalizer = problem.normalizer();
    let targets = problem.target_rows::<f64>(0..n);
    let mut gradient = Vec::new();
    for (j, row) in x.chunks_exact(d).enumerate() {
        let z = |c: usize| bias[c] + row.iter().zip(&w[c * d..]).map(|(x, w)| x * w).sum::<f64>();
        let z: Vec<f64> = (0..k).map(z).collect();
        let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
        let r = |c: usize| {
            let at_label = if targets.labels[j] == c as u32 {
                targets.totals[j]
            } else {
                0.0
            };
            at_label
                - targets
                    .linear
                    .as_ref()
                    .map_or(0.0, |linear| linear[j * k + c])
        };
        let p = |c: usize| (z[c] - largest).exp() / sum;
        let residual: Vec<f64> = (0..k)
            .map(|c| (targets.totals[j] * p(c) - r(c)) / normalizer)
            .collect();
        match wrt {
            Wrt::Logits | Wrt::Weight | Wrt::Bias => gradient.extend(residual),
            Wrt::Input => {
                let entry = |i: usize| {
                    residual
                        .iter()
                        .enumerate()
                        .map(|(c, r)| r * w[c * d + i])
                        .sum::<f64>()
                };
                gradient.extend((0..d).map(entry));
            }
        }
    }
    match wrt {
        Wrt::Input | Wrt::Logits => gradient,
        // The residual of each sample times its input, which is 1 for the bias.
        Wrt::Weight | Wrt::Bias => {
            let m = problem.columns(wrt);
            let x = |j: usize, i: usize| if wrt == Wrt::Bias { 1.0 } else { x[j * d + i] };
            let entry = |e: usize| {
                (0..n)
                    .map(|j| gradient[j * k + e / m] * x(j, e % m))
                    .sum::<f64>()
            };
            (0..k * m).map(entry).collect()
        }
    }
}

/// Returns |a - b| / |b| in the Euclidean norm.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    (squares(&mut a.iter().zip(b).map(|(a, b)| a - b)) / squares(&mut b.iter().copied())).sqrt()
}
