//! Random rounding errors.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::values::Errors;

/// Random rounding errors.
pub(super) struct Noise {
    random: ChaCha8Rng,
    /// The size of an error, per unit of it.
    unit: f64,
}

impl Noise {
    pub(super) fn new(seed: u64, unit: f64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, unit }
    }

    /// Adds a random error to each value, and forgets its bound.
    pub(super) fn disturb(&mut self, values: &mut [f64], errors: &mut Errors) {
        // Uniform, with a standard deviation of 1.
        let most = 3f64.sqrt();
        for (value, error) in values.iter_mut().zip(&mut errors.smooth) {
            *value += self.unit * *error * self.random.random_range(-most..most);
            *error = 0.0;
        }
        errors.flips.fill(0.0);
    }
}
