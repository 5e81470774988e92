//! Layers that apply one function of one number to every entry.

use super::{Built, Layer, Mistake, Spec, Upstream};
use crate::{
    error::Result,
    network::{
        arithmetic::{Arithmetic, quadrature},
        values::{At, Errors},
    },
};

/// A function of one number.
pub(in crate::network) trait Pointwise: Send + Sync {
    /// f(x).
    fn value(&self, x: f64) -> f64;

    /// f(x + d) - f(x), without cancellation.
    fn difference(&self, x: f64, d: f64) -> f64;

    /// f'(x). On a kink, the slope that PyTorch takes.
    fn slope(&self, x: f64) -> f64;

    /// The magnitude whose rounding is that of computing f(x) = y: |y|, unless it is a sum that
    /// cancels.
    fn rounding(&self, _x: f64, y: f64) -> f64 {
        y.abs()
    }

    /// The magnitude whose rounding is that of computing f'(x).
    fn slope_rounding(&self, x: f64) -> f64 {
        self.slope(x).abs()
    }

    /// The places where f' jumps, and the jumps.
    fn kinks(&self) -> Vec<(f64, f64)> {
        Vec::new()
    }
}

/// A layer of a function of one number.
struct Each<P> {
    function: P,
    kinks: Vec<(f64, f64)>,
}

/// Makes a layer of a function of one number.
pub(super) fn each(spec: &mut Spec, function: impl Pointwise + 'static) -> Result<Built> {
    let shape = spec.input()?.to_vec();
    let kinks = function.kinks();
    spec.build(shape, Each { function, kinks })
}

/// The slope at a value, and what a program may have in its place.
pub(super) struct Slope {
    /// The central difference, or PyTorch's slope on a kink.
    pub(super) slope: f64,
    /// The jump, if a program may be on the other side of a kink.
    pub(super) jump: f64,
    /// The change of the slope with the value, per error of the value.
    pub(super) change: f64,
}

/// The least distance at which the change of the slope is taken, in errors of the value.
const SPREAD: f64 = 1e-6;

impl Slope {
    /// Returns the slope of a function at a value with this error.
    pub(super) fn at(
        function: &dyn Pointwise,
        kinks: &[(f64, f64)],
        x: f64,
        error: f64,
        arithmetic: &Arithmetic,
    ) -> Self {
        let mut step = STEP * x.abs().max(1.0);
        let (mut jump, mut is_on_kink) = (0.0, false);
        let spread = arithmetic.u.max(SPREAD);
        let mut is_smooth = true;
        for &(at, of_kink) in kinks {
            let distance = (x - at).abs();
            if distance <= arithmetic.near(error) && error > 0.0 {
                jump = of_kink;
            }
            is_smooth &= distance > spread * error;
            if distance == 0.0 {
                is_on_kink = true;
            } else {
                // The difference crosses no kink.
                step = step.min(distance / 2.0);
            }
        }
        let slope = if is_on_kink {
            function.slope(x)
        } else {
            (function.difference(x, step) - function.difference(x, -step)) / (2.0 * step)
        };
        let farthest = |distance: f64| {
            let change = |to: f64| (function.slope(to) - slope).abs();
            change(x + distance).max(change(x - distance))
        };
        let change = if is_smooth && error > 0.0 {
            farthest(spread * error) / spread
        } else {
            0.0
        };
        if error > 0.0 {
            // The largest error of the value may change the slope of an exponential far more.
            let near = arithmetic.near(error);
            jump = jump.max(farthest(near) - change * near / error);
        }
        Self {
            slope,
            jump,
            change,
        }
    }
}

/// The step of local differences, relative to the value if that is above 1. Rules without
/// cancellation allow any; at this one the truncation is below the rounding of f64.
pub(in crate::network) const STEP: f64 = 1.0 / (1u64 << 32) as f64;

impl<P: Pointwise> Layer for Each<P> {
    fn forward(&self, x: &[&[f64]], y: &mut [f64]) {
        for (y, &x) in y.iter_mut().zip(x[0]) {
            *y = self.function.value(x);
        }
    }

    fn difference(&self, at: &At, d: &[&[f64]], out: &mut [f64]) {
        for ((out, &x), &d) in out.iter_mut().zip(at.inputs[0]).zip(d[0]) {
            *out = self.function.difference(x, d);
        }
    }

    fn is_on_kink(&self, x: &[&[f64]]) -> bool {
        let is_kink = |x: &f64| self.kinks.iter().any(|(at, _)| at == x);
        x[0].iter().any(is_kink)
    }

    fn pull(&self, at: &At, _input: usize, g: &Upstream, gx: &mut [f64], errors: &mut Errors) {
        for (i, &x) in at.inputs[0].iter().enumerate() {
            let error = at.of_inputs[0].smooth[i];
            let slope = Slope::at(&self.function, &self.kinks, x, error, g.arithmetic);
            pull_entry(&slope, self.function.slope_rounding(x), g, i, gx, errors);
        }
    }

    fn mistakes(&self, _at: &At, _input: usize, g: &[f64]) -> Vec<Mistake> {
        vec![Mistake {
            name: "it leaves out the derivative: it hands on the gradient of its output",
            gx: g.to_vec(),
        }]
    }

    fn errors(&self, at: &At, errors: &mut Errors) {
        for (i, (&x, &y)) in at.inputs[0].iter().zip(at.output).enumerate() {
            let error = at.of_inputs[0].smooth[i];
            let slope = Slope::at(&self.function, &self.kinks, x, error, at.arithmetic);
            errors.smooth[i] = quadrature([
                slope.slope.abs().max(slope.jump) * error,
                self.function.rounding(x, y),
                at.arithmetic.of_storing(y),
            ]);
        }
    }
}

/// Writes entry i of g f'(x), and its errors.
pub(super) fn pull_entry(
    slope: &Slope,
    rounding: f64,
    upstream: &Upstream,
    i: usize,
    gx: &mut [f64],
    errors: &mut Errors,
) {
    let (g, of_g) = (upstream.g[i], upstream.errors);
    let steep = slope.slope.abs();
    gx[i] = slope.slope * g;
    errors.smooth[i] = quadrature([
        steep.max(slope.jump) * of_g.smooth[i],
        g * slope.change,
        g * (rounding + upstream.arithmetic.of_result(0.0)),
        upstream.arithmetic.of_result(gx[i]),
    ]);
    errors.flips[i] = quadrature([
        steep * of_g.flips[i],
        g * slope.jump,
        slope.jump * of_g.flips[i],
    ]);
}
