//! How often a relative error occurred, in bins fine enough to read quantiles from.

/// Bins a factor of two: a quantile is known to 0.8 %.
const PER_OCTAVE: usize = 1 << MANTISSA_BITS;
const MANTISSA_BITS: u32 = 7;
/// The lowest and the highest octave: below lie errors far under f64's rounding, and a relative error is at most 2.
const LOWEST_EXPONENT: i32 = -80;
const OCTAVES: usize = 82;

/// Counts of relative errors, 0 apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    zeros: u64,
    bins: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            zeros: 0,
            bins: vec![0; OCTAVES * PER_OCTAVE],
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.zeros + self.bins.iter().sum::<u64>();
        write!(f, "{count} errors, median {:e}", self.quantile(0.5))
    }
}

impl Histogram {
    /// Counts an error; what lies outside of the bins, NaN too, goes into the nearest, NaN into the highest.
    pub fn add(&mut self, error: f64) {
        let is_zero = error == 0.0;
        self.zeros += u64::from(is_zero);
        let lowest = ((LOWEST_EXPONENT + 1023) as u64) << MANTISSA_BITS;
        let bin = (error.to_bits() >> (52 - MANTISSA_BITS)).saturating_sub(lowest);
        self.bins[(bin as usize).min(OCTAVES * PER_OCTAVE - 1)] += u64::from(!is_zero);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            *bin += other;
        }
    }

    /// The error that a share `q` of all errors does not exceed: the middle of its bin, 0 if nothing was counted.
    pub fn quantile(&self, q: f64) -> f64 {
        let count = self.zeros + self.bins.iter().sum::<u64>();
        let rank = ((q * count as f64).ceil() as u64).max(1);
        let mut seen = self.zeros;
        if seen >= rank || count == 0 {
            return 0.0;
        }
        let bin = self.bins.iter().position(|bin| {
            seen += bin;
            seen >= rank
        });
        let bin = bin.expect("the rank is at most the count");
        let octave = 2f64.powi(LOWEST_EXPONENT + (bin / PER_OCTAVE) as i32);
        octave * (1.0 + ((bin % PER_OCTAVE) as f64 + 0.5) / PER_OCTAVE as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_bin() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|i| histogram.add(f64::from(i) * 1e-6));
        for (q, expected) in [(0.5, 5e-4), (0.99, 9.9e-4), (0.001, 1e-6)] {
            assert!(
                (histogram.quantile(q) / expected - 1.0).abs() < 0.008,
                "{q}"
            );
        }
    }

    #[test]
    fn zeros_and_extremes_are_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0.0);
        [0.0, 0.0, 1e-300, f64::NAN]
            .into_iter()
            .for_each(|error| histogram.add(error));
        assert_eq!(histogram.quantile(0.5), 0.0);
        assert!(histogram.quantile(0.75) < 1e-23);
        assert!(histogram.quantile(1.0) > 3.9);
    }
}
