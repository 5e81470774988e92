//! ELU: x for x > 0, else `alpha` (exp(x) - 1).

use crate::{
    error::Result,
    network::layer::{Built, Pointwise, Spec, pointwise::each},
};

/// `scale` (x for x > 0, else `alpha` (exp(x / `width`) - 1)): the function of ELU, SELU and CELU.
pub(in crate::network::layer) struct Elu {
    pub(in crate::network::layer) alpha: f64,
    pub(in crate::network::layer) scale: f64,
    pub(in crate::network::layer) width: f64,
    /// The relative error of the width in a program's backward pass, in units of the unit roundoff.
    pub(in crate::network::layer) of_width: f64,
}

pub(in crate::network::layer) fn new(spec: &mut Spec) -> Result<Built> {
    let alpha = spec.settings.number("alpha", 1.0)?;
    each(
        spec,
        Elu {
            alpha,
            scale: 1.0,
            width: 1.0,
            of_width: 0.0,
        },
    )
}

impl Pointwise for Elu {
    fn value(&self, x: f64) -> f64 {
        let below = || self.alpha * (x / self.width).exp_m1();
        self.scale * if x > 0.0 { x } else { below() }
    }

    fn difference(&self, x: f64, d: f64) -> f64 {
        match (x > 0.0, d > -x) {
            (true, true) => self.scale * d,
            (false, false) => {
                let at = self.alpha * (x / self.width).exp();
                self.scale * at * (d / self.width).exp_m1()
            }
            // The values have opposite signs, so nothing cancels.
            _ => self.value(x + d) - self.value(x),
        }
    }

    fn slope(&self, x: f64) -> f64 {
        let below = || self.alpha / self.width * (x / self.width).exp();
        self.scale * if x > 0.0 { 1.0 } else { below() }
    }

    fn slope_rounding(&self, x: f64) -> f64 {
        let below = self.alpha / self.width * (x.min(0.0) / self.width).exp();
        let x = (x.min(0.0) / self.width).abs();
        self.scale * (below.abs().max(1.0) + below.abs() * self.of_width * (1.0 + x))
    }

    fn kinks(&self) -> Vec<(f64, f64)> {
        // Even a slope without a jump has a kink at 0: no difference crosses it.
        let jump = self.scale * (self.alpha / self.width - 1.0).abs();
        vec![(0.0, jump)]
    }
}
