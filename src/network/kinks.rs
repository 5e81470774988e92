//! Values exactly on a kink, where the derivative is a matter of convention.
//!
//! The slope that PyTorch takes is right there. Any other slope between those on both sides is a
//! subgradient too, so an entry that has it is undecided, not wrong. A value that is only close to
//! a kink has an error, and what its other side would give is part of its bound.

use super::{
    build::{Built, Network},
    layer::STEP,
    values::At,
};

/// An entry of a gradient that is a subgradient on a kink.
pub(super) struct OnKink {
    pub(super) entry: usize,
    /// The difference between the derivatives on both sides.
    pub(super) width: f64,
}

impl Network {
    /// Returns the entries of the user's gradient of an input that lie between the derivatives on
    /// both sides of a kink. The layers with kinks act on each entry by itself.
    pub(super) fn on_kinks(
        &self,
        node: &Built,
        (at, input): (&At, usize),
        g: &[f64],
        theirs: &[f64],
    ) -> Vec<OnKink> {
        if !node.layer.is_on_kink(&at.inputs) {
            return Vec::new();
        }
        let steps: Vec<f64> = at.inputs[input]
            .iter()
            .map(|x| STEP * x.abs().max(1.0))
            .collect();
        let side = |sign: f64| -> Vec<f64> {
            let along: Vec<f64> = steps.iter().map(|step| sign * step).collect();
            let zeros: Vec<Vec<f64>> = at.inputs.iter().map(|x| vec![0.0; x.len()]).collect();
            let mut d: Vec<&[f64]> = zeros.iter().map(Vec::as_slice).collect();
            d[input] = &along;
            let mut out = vec![0.0; at.output.len()];
            node.layer.difference(at, &d, &mut out);
            let pairs = out.iter().zip(&along).zip(g);
            pairs.map(|((out, along), g)| g * out / along).collect()
        };
        let (below, above) = (side(-1.0), side(1.0));
        let entry = |entry: usize| {
            let (least, most) = (
                below[entry].min(above[entry]),
                below[entry].max(above[entry]),
            );
            let slack = self.arithmetic.u * least.abs().max(most.abs());
            let is_exact = at.of_inputs[input].smooth[entry] == 0.0;
            let is_between = (least - slack..=most + slack).contains(&theirs[entry]);
            // The two sides of a smooth function differ by the truncation of the difference.
            let is_kink = most - least > slack.max(STEP.sqrt() * most.abs());
            let is_on_kink = is_exact && is_kink && is_between;
            let width = most - least;
            is_on_kink.then_some(OnKink { entry, width })
        };
        (0..theirs.len()).filter_map(entry).collect()
    }
}
