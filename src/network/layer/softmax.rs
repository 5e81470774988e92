//! Softmax and its logarithm, on the last axis.

use super::{Built, Layer, Mistake, STEP, Spec, Upstream};
use crate::{
    error::Result,
    network::{
        arithmetic::{Arithmetic, norm, quadrature},
        difference,
        values::{At, Errors},
    },
};

struct Softmax {
    width: usize,
    is_log: bool,
}

pub(super) fn softmax(spec: &mut Spec) -> Result<Built> {
    new(spec, false)
}

pub(super) fn log_softmax(spec: &mut Spec) -> Result<Built> {
    new(spec, true)
}

fn new(spec: &mut Spec, is_log: bool) -> Result<Built> {
    let width = spec.width()?;
    let shape = spec.input()?.to_vec();
    let dim = spec.settings.number("dim", -1.0)?;
    // The samples are axis 0.
    if dim != -1.0 && dim != shape.len() as f64 {
        return Err(spec.failed("its dim must be -1, the last axis"));
    }
    spec.build(shape, Softmax { width, is_log })
}

/// Returns the errors of a program's softmax p of z.
fn of_probabilities(p: &[f64], of_z: &[f64], arithmetic: &Arithmetic) -> Vec<f64> {
    let all = norm(p.iter().zip(of_z).map(|(p, error)| p * error));
    let grown = arithmetic.nonlinearity(of_z.iter().fold(0.0f64, |a, b| a.max(*b)));
    let entry = |(p, error): (&f64, &f64)| {
        // The exponent is rounded too.
        let own = p * (1.0 + p.max(f64::MIN_POSITIVE).ln().abs());
        let of_z = grown * quadrature([p * (1.0 - p) * error, p * all]);
        // It lies between 0 and 1.
        let of_z = of_z.min(1.0 / arithmetic.u);
        quadrature([of_z, own, arithmetic.of_result(*p)])
    };
    p.iter().zip(of_z).map(entry).collect()
}

impl Layer for Softmax {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (z, y) in x[0].chunks(self.width).zip(y.chunks_mut(self.width)) {
            let most = difference::softmax(z, y);
            if self.is_log {
                let others = (0..z.len()).filter(|&c| c != most);
                let log: f64 = others.map(|c| (z[c] - z[most]).exp()).sum::<f64>().ln_1p();
                for (y, z_c) in y.iter_mut().zip(z) {
                    *y = z_c - z[most] - log;
                }
            }
        }
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        let rows = at.inputs[0].chunks(self.width).zip(d[0].chunks(self.width));
        for ((z, d), out) in rows.zip(out.chunks_mut(self.width)) {
            difference::of_log_softmax(z, d, out);
            if !self.is_log {
                let mut p = vec![0.0; self.width];
                difference::softmax(z, &mut p);
                out.iter_mut()
                    .zip(p)
                    .for_each(|(out, p)| *out = p * out.exp_m1());
            }
        }
    }

    /// Along entry i, with d = ±h, log p changes by d - L in entry i and by -L in all others, with
    /// L = log(1 + p_i (exp(d) - 1)): row sums are all that is needed.
    fn pull(&self, at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        let h = STEP;
        let mut p = vec![0.0; self.width];
        for start in (0..gx.len()).step_by(self.width) {
            let here = start..start + self.width;
            let most = difference::softmax(&at.inputs[0][here.clone()], &mut p);
            // 1 - p of the largest is the sum of the others.
            let others: f64 = (0..self.width).filter(|&c| c != most).map(|c| p[c]).sum();
            let rest = |i: usize| if i == most { others } else { 1.0 - p[i] };
            let row = &g.g[here.clone()];
            let of_g = &g.errors.smooth[here.clone()];
            let flips = &g.errors.flips[here.clone()];
            let of_p = of_probabilities(&p, &at.of_inputs[0].smooth[here], g.arithmetic);
            // The weights of g in the sum that all entries share.
            let share: Vec<f64> = if self.is_log {
                vec![1.0; self.width]
            } else {
                p.clone()
            };
            let terms = row.iter().zip(&share).map(|(g, share)| g * share);
            let sum: f64 = terms.clone().sum();
            let magnitude: f64 = terms.clone().map(f64::abs).sum();
            let shared = |errors: &[f64]| {
                norm(
                    errors
                        .iter()
                        .zip(&share)
                        .map(|(error, share)| error * share),
                )
            };
            let (all_of_g, all_flips) = (shared(of_g), shared(flips));
            let all_of_p = if self.is_log {
                0.0
            } else {
                norm(row.iter().zip(&of_p).map(|(g, error)| g * error))
            };
            for i in 0..self.width {
                let own_share = row[i] * share[i];
                let besides = sum - own_share;
                let side = |d: f64| {
                    let log = (p[i] * d.exp_m1()).ln_1p();
                    // d - L, without cancellation where p is near 1.
                    let own = -(rest(i) * (-d).exp_m1()).ln_1p();
                    if self.is_log {
                        own_share * own - besides * log
                    } else {
                        own_share * own.exp_m1() + besides * (-log).exp_m1()
                    }
                };
                let entry = start + i;
                gx[entry] = (side(h) - side(-h)) / (2.0 * h);
                let direct = if self.is_log { 1.0 } else { p[i] };
                let about = if self.is_log { sum } else { row[i] - sum };
                errors.smooth[entry] = quadrature([
                    direct * of_g[i],
                    p[i] * all_of_g,
                    of_p[i] * about,
                    p[i] * all_of_p,
                    p[i] * g.arithmetic.of_sum(self.width, magnitude),
                    direct * row[i],
                    g.arithmetic.of_result(gx[entry]),
                ]);
                errors.flips[entry] = quadrature([direct * flips[i], p[i] * all_flips]);
            }
        }
    }

    fn mistakes(&self, at: &At, _input: usize, g: &[f64]) -> Vec<Mistake> {
        let mut p = vec![0.0; g.len()];
        let rows = at.inputs[0].chunks(self.width);
        for (z, p) in rows.zip(p.chunks_mut(self.width)) {
            difference::softmax(z, p);
        }
        let pairs = g.iter().zip(&p);
        let diagonal = if self.is_log {
            pairs.map(|(g, p)| g * (1.0 - p)).collect()
        } else {
            pairs.map(|(g, p)| g * p * (1.0 - p)).collect()
        };
        vec![
            Mistake {
                name: "it has only the diagonal of the Jacobian",
                gx: diagonal,
            },
            Mistake {
                name: "it leaves out the derivative: it hands on the gradient of its output",
                gx: g.to_vec(),
            },
        ]
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        let mut p = vec![0.0; self.width];
        for start in (0..at.output.len()).step_by(self.width) {
            let here = start..start + self.width;
            let z = &at.inputs[0][here.clone()];
            let most = difference::softmax(z, &mut p);
            let of_z = &at.of_inputs[0].smooth[here.clone()];
            if !self.is_log {
                let of_p = of_probabilities(&p, of_z, at.arithmetic);
                errors.smooth[here].copy_from_slice(&of_p);
                continue;
            }
            let all = norm(p.iter().zip(of_z).map(|(p, error)| p * error));
            for i in 0..self.width {
                let y = at.output[start + i];
                errors.smooth[start + i] = quadrature([
                    (1.0 - p[i]) * of_z[i],
                    all,
                    1.0,
                    z[i] - z[most],
                    at.arithmetic.of_result(y),
                ]);
            }
        }
    }
}
