//! The spread of a program's gradients, by drawing its rounding errors.
//!
//! Errors in quadrature are a propagation formula, which takes the errors of layers for
//! independent. In ill-conditioned and in trained networks they are not. Here, every stored value
//! of an exact network is off by a random error of the size of its own rounding alone, and the
//! gradients are computed again. It costs as much as eight checks, so it is asked for where an
//! entry is just beyond its bound.

use super::{build::Network, noise::Noise, reverse::Reverse, values::Errors};

/// Draws of the errors. With four, one of 844 gradients in bf16 was off by 4.05 standard
/// deviations.
pub(super) const DRAWS: u64 = 8;
/// Errors beyond this multiple of the bound are wrong whatever the draws show.
const FAR: f64 = 20.0;
/// Unit roundoff below which errors are drawn larger, because the check itself rounds in f64.
const FINE: f64 = 1e-9;
/// The factor by which they are.
const LARGER: f64 = (1u64 << 24) as f64;

impl Network {
    pub(super) fn noise(&self, draw: u64, row: usize) -> Noise {
        Noise::new(draw + DRAWS * row as u64, self.larger() * self.arithmetic.u)
    }

    fn larger(&self) -> f64 {
        if self.arithmetic.u < FINE {
            LARGER
        } else {
            1.0
        }
    }

    /// Adds the spread of the gradients to their errors, if an entry lies just beyond its bound.
    pub(super) fn look_again(&self, mut block: Reverse) -> Reverse {
        let mut values = block.theirs.iter().zip(&block.gradients);
        let is_close = values.any(|(theirs, (numeric, errors))| {
            let theirs = theirs.as_deref();
            theirs.is_some_and(|theirs| self.is_close(theirs, numeric, errors))
        });
        if !is_close {
            return block;
        }
        let mut spreads: Vec<Vec<f64>> = block
            .gradients
            .iter()
            .map(|(g, _)| vec![0.0; g.len()])
            .collect();
        for draw in 0..DRAWS {
            let mut noise = self.noise(draw, block.rows.start);
            let drawn = self.block(&block.rows, block.handed, Some(&mut noise));
            for (place, spread) in spreads.iter_mut().enumerate() {
                add_squares(spread, &drawn.gradients[place].0, &block.gradients[place].0);
            }
        }
        for ((_, errors), spread) in block.gradients.iter_mut().zip(&spreads) {
            self.add_spread(errors, spread);
        }
        block
    }

    /// Returns true if an entry is wrong, but not by far.
    pub(super) fn is_close(&self, analytic: &[f64], numeric: &[f64], errors: &Errors) -> bool {
        let allowed = self.allowed(errors);
        let pairs = analytic.iter().zip(numeric).zip(allowed);
        let mut ratios = pairs.map(|((a, n), allowed)| (a - n).abs() / allowed);
        ratios.any(|ratio| ratio > 1.0 && ratio <= FAR)
    }

    /// Adds the mean of squared deviations to the errors.
    pub(super) fn add_spread(&self, errors: &mut Errors, squares: &[f64]) {
        let unit = self.larger() * self.arithmetic.u;
        for (error, square) in errors.smooth.iter_mut().zip(squares) {
            *error = error.hypot((square / DRAWS as f64).sqrt() / unit);
        }
    }
}

pub(super) fn add_squares(squares: &mut [f64], drawn: &[f64], exact: &[f64]) {
    for ((square, drawn), exact) in squares.iter_mut().zip(drawn).zip(exact) {
        *square += (drawn - exact).powi(2);
    }
}
