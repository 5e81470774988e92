//! Differences f(a + d) - f(a) of elementary functions, without cancellation.
//!
//! Each is an identity, except that of the normal distribution's integral. None computes a + d and
//! then decides by it: rounding may move a + d across a kink. They are as accurate at d = 1e-12 as
//! at d = 0.1, and layers are composed of them.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Returns 1 / (1 + exp(-x)).
pub(super) fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 {
        1.0 / (1.0 + e)
    } else {
        e / (1.0 + e)
    }
}

/// Returns 1 / cosh(x).
pub(super) fn sech(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    2.0 * e / (1.0 + e * e)
}

/// Returns log(1 + exp(x)).
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The difference of x for x > 0, and of `slope` x else.
pub(super) fn of_leaky(a: f64, d: f64, slope: f64) -> f64 {
    match (a > 0.0, d > -a) {
        (true, true) => d,
        (true, false) => slope * d - (1.0 - slope) * a,
        (false, true) => d + (1.0 - slope) * a,
        (false, false) => slope * d,
    }
}

/// The difference of x, limited to `low` and `high`.
pub(super) fn of_clamp(a: f64, d: f64, low: f64, high: f64) -> f64 {
    if a > high {
        (d + (a - high)).clamp(low - high, 0.0)
    } else if a < low {
        (d + (a - low)).clamp(0.0, high - low)
    } else {
        d.clamp(low - a, high - a)
    }
}

/// The difference of |x|.
pub(super) fn of_abs(a: f64, d: f64) -> f64 {
    of_leaky(a, d, -1.0)
}

/// The difference of the sigmoid.
pub(super) fn of_sigmoid(a: f64, d: f64) -> f64 {
    d.exp_m1() * sigmoid(a) * sigmoid(-(a + d))
}

/// The difference `tanh b - tanh a`, from d = b - a.
pub(super) fn of_tanh(a: f64, b: f64, d: f64) -> f64 {
    // Beyond, sinh overflows, and nothing cancels.
    const FAR: f64 = 300.0;
    if d.abs() > FAR {
        return b.tanh() - a.tanh();
    }
    d.sinh() * sech(a) * sech(b)
}

/// The difference of log(1 + exp(x)).
pub(super) fn of_softplus(a: f64, d: f64) -> f64 {
    if d <= 1.0 {
        (sigmoid(a) * d.exp_m1()).ln_1p()
    } else {
        d + (sigmoid(-a) * (-d).exp_m1()).ln_1p()
    }
}

/// The difference of 1 / sqrt(x).
pub(super) fn of_rsqrt(a: f64, d: f64) -> f64 {
    let (s, t) = (1.0 / a.sqrt(), 1.0 / (a + d).sqrt());
    -d * s * s * t * t / (s + t)
}

/// Returns the density of the normal distribution.
pub(super) fn normal(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Returns the integral of the normal distribution up to x.
pub(super) fn normal_integral(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Largest |d| (1 + |m|) at which four terms of the series about the middle m are exact in f64.
const SERIES: f64 = 0.02;
/// The same for eight points of Gauss and Legendre.
const QUADRATURE: f64 = 2.0;
/// Positive points and weights of Gauss-Legendre quadrature with eight points on [-1, 1], from
/// Abramowitz and Stegun, table 25.4.
const POINTS: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_3),
];

/// The difference of [`normal_integral`]: the integral of the density from a to a + d.
///
/// It is a series in d about the middle m, with Hermite polynomials of m, then quadrature, then the
/// difference of the smaller tails.
pub(super) fn of_normal_integral(a: f64, d: f64) -> f64 {
    let m = a + 0.5 * d;
    let size = d.abs() * (1.0 + m.abs());
    if size < SERIES {
        let (m2, d2) = (m * m, d * d);
        let second = (m2 - 1.0) / 24.0;
        let fourth = ((m2 - 6.0) * m2 + 3.0) / 1920.0;
        let sixth = (((m2 - 15.0) * m2 + 45.0) * m2 - 15.0) / 322_560.0;
        return d * normal(m) * (1.0 + d2 * (second + d2 * (fourth + d2 * sixth)));
    }
    if size < QUADRATURE {
        let pair = |(point, weight): (f64, f64)| {
            let from_middle = 0.5 * d * point;
            0.5 * weight * (normal(m - from_middle) + normal(m + from_middle))
        };
        return d * POINTS.map(pair).iter().sum::<f64>();
    }
    if m > 0.0 {
        normal_integral(-a) - normal_integral(-a - d)
    } else {
        normal_integral(a + d) - normal_integral(a)
    }
}

/// Returns the softmax of z, and its largest entry's place.
pub(super) fn softmax(z: &[f64], p: &mut [f64]) -> usize {
    let most = (0..z.len())
        .max_by(|&a, &b| z[a].total_cmp(&z[b]))
        .unwrap_or(0);
    for (p, z_c) in p.iter_mut().zip(z) {
        *p = (z_c - z[most]).exp();
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    most
}

/// Writes the differences of log softmax to `out`, from those of z.
///
/// They are taken relative to the largest logit, so that a saturated softmax loses no digits.
pub(super) fn of_log_softmax(z: &[f64], d: &[f64], out: &mut [f64]) {
    let most = softmax(z, out);
    let relative = |c: usize| d[c] - d[most];
    let lambda: f64 = (0..z.len()).map(|c| out[c] * relative(c).exp_m1()).sum();
    let lambda = lambda.ln_1p();
    for (c, out) in out.iter_mut().enumerate() {
        *out = relative(c) - lambda;
    }
}
