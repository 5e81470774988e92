//! Sample launches: random operands for one kernel, and the results of its twin.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{Launch, operand::Operand};
use crate::{loss::NO_LABEL, scheme::Precision};

/// Sizes n, d and k of the samples that the tests run: fewer and more classes than a workgroup's 64
/// threads, and sizes that are and are not multiples of a tile.
pub const SIZES: [[usize; 3]; 5] = [
    [1, 1, 1],
    [7, 5, 3],
    [33, 100, 10],
    [9, 17, 65],
    [3, 40, 700],
];

/// A launch with its operands, in the order of the kernel's bindings.
#[derive(Debug)]
pub struct Sample {
    launch: Box<dyn Launch>,
    pub(in crate::gpu) operands: Vec<Operand>,
}

impl Sample {
    /// Pairs a launch with its operands.
    pub fn new(launch: impl Launch + 'static, operands: Vec<Operand>) -> Self {
        Self {
            launch: Box::new(launch),
            operands,
        }
    }

    /// Returns the launch.
    pub fn launch(&self) -> &dyn Launch {
        self.launch.as_ref()
    }

    /// Returns the operands as the twin leaves them.
    pub fn expected(&self, precision: Precision) -> Vec<Operand> {
        let mut operands = self.rounded(precision);
        self.launch.twin(precision, &mut operands);
        operands
    }

    /// Returns the operands before the launch, rounded as the device holds them.
    pub(in crate::gpu) fn rounded(&self, precision: Precision) -> Vec<Operand> {
        let operands = self.operands.iter();
        operands.map(|operand| operand.rounded(precision)).collect()
    }
}

/// A source of random operands for a problem of n samples, d features and k classes.
#[derive(Debug)]
pub struct Sampler {
    rng: ChaCha8Rng,
    /// The arithmetic of the device.
    pub precision: Precision,
    /// The number of samples.
    pub n: usize,
    /// The number of features.
    pub d: usize,
    /// The number of classes.
    pub k: usize,
}

impl Sampler {
    /// Seeds a sampler for sizes n, d and k.
    pub fn new(seed: u64, precision: Precision, [n, d, k]: [usize; 3]) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            precision,
            n,
            d,
            k,
        }
    }

    /// Draws values of a normal distribution, exact in f32, by the method of Box and Muller.
    pub fn normal(&mut self, count: usize) -> Vec<f64> {
        let value = |rng: &mut ChaCha8Rng| {
            // In (0, 1], so that the logarithm is finite.
            let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
            let value = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
            f64::from(value as f32)
        };
        (0..count).map(|_| value(&mut self.rng)).collect()
    }

    /// Draws normal values times a power of two, exact in f32.
    pub fn scaled(&mut self, count: usize, scale: f64) -> Vec<f64> {
        self.normal(count).iter().map(|v| v * scale).collect()
    }

    /// Draws the targets of n samples: labels, totals and the linear part. With a linear part, a
    /// third of the samples have a class, a third weight all classes equally, and a third are
    /// ignored. Without one, two thirds have a class, and the operand has one element.
    pub fn target_operands(&mut self, has_linear: bool) -> [Operand; 3] {
        let (n, k) = (self.n, self.k);
        let is_spread = |row: usize| has_linear && row % 3 == 1;
        let label = |row: usize, rng: &mut ChaCha8Rng| {
            if row % 3 == 2 || is_spread(row) {
                NO_LABEL
            } else {
                rng.random_range(0..k as u32)
            }
        };
        let labels: Vec<u32> = (0..n).map(|row| label(row, &mut self.rng)).collect();
        let totals: Vec<f64> = (0..n).map(|row| [1.0, 0.75, 0.0][row % 3]).collect();
        let linear = |entry: usize| {
            if is_spread(entry / k) {
                f64::from((-0.75 / k as f64) as f32)
            } else {
                0.0
            }
        };
        let entries = if has_linear { n * k } else { 1 };
        let linear: Vec<f64> = (0..entries).map(linear).collect();
        [labels.into(), totals.into(), linear.into()]
    }
}
