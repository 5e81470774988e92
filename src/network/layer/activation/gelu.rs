//! GELU: x times the integral of the normal distribution up to x, or its approximation by tanh.

use std::f64::consts::FRAC_2_PI;

use crate::{
    error::Result,
    network::{
        difference,
        layer::{Built, Pointwise, Spec, pointwise::each},
    },
};

struct Gelu;
struct GeluTanh;

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    match spec.settings.word("approximate", &["none", "tanh"])? {
        "tanh" => each(spec, GeluTanh),
        _ => each(spec, Gelu),
    }
}

impl Pointwise for Gelu {
    fn value(&self, x: f64) -> f64 {
        x * difference::normal_integral(x)
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        d * difference::normal_integral(x + d) + x * difference::of_normal_integral(x, d)
    }

    fn slope(&self, x: f64) -> f64 {
        difference::normal_integral(x) + x * difference::normal(x)
    }

    /// 1 + erf cancels for x < 0. PyTorch's value in f32 was measured 5.1 u off.
    fn rounding(&self, x: f64, _y: f64) -> f64 {
        1.5 * x.abs()
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        1.0 + x.abs() * difference::normal(x) * (1.0 + x * x)
    }
}

/// The factor of x³ in the argument of tanh.
const CUBIC: f64 = 0.044_715;

impl GeluTanh {
    fn argument(x: f64) -> f64 {
        FRAC_2_PI.sqrt() * (x + CUBIC * x * x * x)
    }
}

impl Pointwise for GeluTanh {
    fn value(&self, x: f64) -> f64 {
        // (1 + tanh u) / 2.
        x * difference::sigmoid(2.0 * Self::argument(x))
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        let b = x + d;
        let (u, v) = (Self::argument(x), Self::argument(b));
        let between = FRAC_2_PI.sqrt() * d * (1.0 + CUBIC * (x * x + x * b + b * b));
        d * difference::sigmoid(2.0 * v) + 0.5 * x * difference::of_tanh(u, v, between)
    }

    fn slope(&self, x: f64) -> f64 {
        let u = Self::argument(x);
        let steep = FRAC_2_PI.sqrt() * (1.0 + 3.0 * CUBIC * x * x);
        difference::sigmoid(2.0 * u) + 0.5 * x * difference::sech(u).powi(2) * steep
    }

    fn rounding(&self, x: f64, _y: f64) -> f64 {
        x.abs()
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        1.0 + x.abs() * (1.0 + 3.0 * CUBIC * x * x)
    }
}
