//! The distribution of relative errors, in bins that are fine enough for quantiles.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bins for each factor of two. They give a quantile to 0.8 %.
const PER_OCTAVE: usize = 1 << MANTISSA_BITS;
/// The leading bits of the significand that choose a bin within its factor of two.
const MANTISSA_BITS: u32 = 7;
/// The exponent of the lowest bin: smaller errors are far below the rounding of f64.
const LOWEST_EXPONENT: i32 = -80;
/// Factors of two from 2^-80 to 4; a finite relative error is at most 2.
const OCTAVES: usize = 82;
/// All bins: the first one is for errors of 0, or below the lowest factor of two.
const BINS: usize = 1 + OCTAVES * PER_OCTAVE;
/// The exponent and the leading bits of the significand of an error in the first bin.
const FIRST: u32 = (((LOWEST_EXPONENT + 1023) as u32) << MANTISSA_BITS) - 1;

/// Counts of relative errors.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram(
    /// A count for each bin; empty before the first error.
    Vec<u64>,
);

/// The bins that are not empty, as `[bin, count]`.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bins = self.0.iter().enumerate();
        serializer.collect_seq(bins.filter(|(_, count)| **count > 0))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = Vec::<(usize, u64)>::deserialize(deserializer)?;
        if counts.is_empty() {
            return Ok(Self::default());
        }
        let mut bins = vec![0; BINS];
        for (bin, count) in counts {
            let bin = bins.get_mut(bin);
            *bin.ok_or_else(|| D::Error::custom("there is no such bin"))? = count;
        }
        Ok(Self(bins))
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.iter().sum::<u64>();
        write!(f, "{count} errors, median {:e}", self.quantile(0.5))
    }
}

impl Histogram {
    /// Returns the bin of an error. Errors above all bins, and NaN, belong to the highest.
    #[inline(always)]
    pub fn bin(error: f64) -> u32 {
        let bits = (error.to_bits() >> (52 - MANTISSA_BITS)) as u32;
        bits.saturating_sub(FIRST).min(BINS as u32 - 1)
    }

    /// Counts an error.
    pub fn add(&mut self, error: f64) {
        self.add_count(error, 1);
    }

    /// Counts an error `count` times.
    pub fn add_count(&mut self, error: f64, count: u64) {
        self.0.resize(BINS, 0);
        self.0[Self::bin(error) as usize] += count;
    }

    /// Counts errors by their bins.
    pub fn add_bins(&mut self, bins: &[u32]) {
        self.0.resize(BINS, 0);
        for &bin in bins {
            self.0[bin as usize] += 1;
        }
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        for (bin, other) in self.0.iter_mut().zip(&other.0) {
            *bin += other;
        }
    }

    /// Iterates over the bins with a count, in ascending order: the middle of the bin and the
    /// count.
    pub fn counts(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let counts = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(bin, &count)| (Self::middle(bin), count))
    }

    /// Returns the middle of a bin; 0 for the first.
    fn middle(bin: usize) -> f64 {
        let Some(bin) = bin.checked_sub(1) else {
            return 0.0;
        };
        let octave = 2f64.powi(LOWEST_EXPONENT + (bin / PER_OCTAVE) as i32);
        octave * (1.0 + ((bin % PER_OCTAVE) as f64 + 0.5) / PER_OCTAVE as f64)
    }

    /// Returns the error that a share `q` of all errors does not exceed, as the middle of its bin.
    /// Returns 0 if there are no errors.
    pub fn quantile(&self, q: f64) -> f64 {
        let count = self.0.iter().sum::<u64>();
        let rank = ((q * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bin = self.0.iter().position(|bin| {
            seen += bin;
            seen >= rank
        });
        // Without errors no rank is reached.
        Self::middle(bin.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_bin() {
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
