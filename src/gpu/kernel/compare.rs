//! shaders/compare.wgsl: compares a gradient with the numeric one and writes records of sums.

use super::{
    Binding, Constant, FUNCTIONS, GROUP, Kernel, Launch, Outcome,
    operand::{Disagreement, Operand, columns, each},
    params::params,
    reads,
    sample::{Sample, Sampler},
    writes,
};
use crate::{
    cpu::compare::{self, BLOCK_ROWS, ComparedRows},
    engine::{Allowance, DeviceComparison},
    scheme::Precision,
};

mod agreement;
pub(in crate::gpu) mod allowance;
pub(in crate::gpu) mod record;

const BINDINGS: [Binding; 7] = [
    reads("allowance"),
    reads("analytic"),
    reads("derivative"),
    reads("conditioning"),
    reads("bounds"),
    writes("records"),
    writes("histogram"),
];

/// The kernel's row in the table.
pub static KERNEL: Kernel = Kernel {
    name: "compare",
    shared: &[
        FUNCTIONS,
        include_str!("../../../shaders/allowance.wgsl"),
        include_str!("../../../shaders/sums.wgsl"),
        include_str!("../../../shaders/record.wgsl"),
    ],
    wgsl: include_str!("../../../shaders/compare.wgsl"),
    bindings: &BINDINGS,
    samples,
};

params! {
    /// Compares all columns of some rows.
    Compare {
        /// The number of rows of the gradient.
        rows: u32,
        /// The number of columns of the operands, including their padding.
        columns: u32,
    }
}

impl Compare {
    /// Reads the records and the histogram among the operands.
    fn read(&self, precision: Precision, operands: &[Operand]) -> DeviceComparison {
        let [bounds, .., records, histogram] = operands else {
            return DeviceComparison::default();
        };
        let columns = allowance::from_operand(bounds.numbers()).noise.len();
        let (rows, records) = (0..self.rows as usize, records.numbers());
        record::read(precision, rows, columns, records, histogram.counts())
    }
}

impl Launch for Compare {
    fn kernel(&self) -> &'static Kernel {
        &KERNEL
    }

    fn workgroups(&self, _constants: &[Constant]) -> usize {
        // The padding is too short to add a stripe of columns.
        (self.rows as usize).div_ceil(BLOCK_ROWS) * (self.columns as usize).div_ceil(GROUP)
    }

    fn twin(&self, precision: Precision, operands: &mut [Operand]) {
        let [
            allowance,
            analytic,
            derivative,
            conditioning,
            bounds,
            records,
            histogram,
        ] = each(operands);
        let allowance = allowance::from_operand(allowance.numbers());
        let m = allowance.noise.len();
        let unpadded = |operand: &Operand| columns(operand.numbers(), self.columns as usize, 0, m);
        let rows = ComparedRows {
            analytic: &unpadded(analytic),
            derivative: &unpadded(derivative),
            conditioning: &unpadded(conditioning),
            bounds: bounds.numbers(),
        };
        let comparison = compare::compare(0..self.rows as usize, &rows, &allowance);
        let mut counts = histogram.counts().to_vec();
        for (error, count) in &comparison.rel_err {
            counts[record::bin(precision, *error)] += *count as u32;
        }
        *histogram = counts.into();
        record::write(comparison, m, records.numbers_mut());
    }

    fn disagreement(&self, outcome: &Outcome<'_>) -> Option<Disagreement> {
        let precision = outcome.precision;
        let [found, expected] =
            [outcome.found, outcome.expected].map(|operands| self.read(precision, operands));
        let slack = allowance::from_operand(outcome.before[0].numbers()).slack;
        agreement::disagreement(precision, &found, &expected, slack)
    }
}

/// Draws gradients that are right to rounding, or wrong in one entry of twenty.
fn samples(sampler: &mut Sampler) -> Vec<Sample> {
    let Sampler {
        precision, n, d, ..
    } = *sampler;
    // With the larger n, several blocks of rows, the last one short. Columns with padding.
    let (rows, m, padded) = (40 * n, d, d.next_multiple_of(super::TILE_COLUMNS));
    let u = precision.unit_roundoff();
    let derivative = sampler.normal(rows * padded);
    let conditioning: Vec<f64> = derivative.iter().map(|v| v.abs() * 3.0 + 0.1).collect();
    let mut wide = |count| -> Vec<f64> {
        let values = sampler.normal(count);
        values.iter().map(|v| v.abs() * 3.0 + 0.1).collect()
    };
    let (bounds, noise) = (wide(2 * rows), wide(m));
    let sample = |(given, is_wrong): (Option<[f64; 2]>, bool)| {
        let bounds_of_entries = Allowance {
            normalizer: 3.0,
            slack: 8.0 * u,
            unit_roundoff: u,
            rounding: 100.0 * u,
            drift: 10.0 * u,
            floor: 1e-9 * u,
            lost: 1e-12,
            given,
            noise: noise.iter().map(|v| v * u).collect(),
            noise_by_magnitude: u * u,
            noise_drift: u,
            noise_floor: 1e-9 * u,
        };
        let analytic = derivative.iter().enumerate().map(|(element, value)| {
            let (row, column) = (element / padded, element % padded);
            let is_off = is_wrong && column < m && (row * m + column) % 20 == 7;
            if is_off {
                1.125 * value / 3.0
            } else {
                value / 3.0
            }
        });
        let operands = vec![
            allowance::to_operand(&bounds_of_entries, precision).into(),
            analytic.collect::<Vec<f64>>().into(),
            derivative.clone().into(),
            conditioning.clone().into(),
            bounds.clone().into(),
            Operand::zeros(record::elements(rows, m)),
            vec![0u32; record::bins(precision)].into(),
        ];
        let launch = Compare {
            rows: rows as u32,
            columns: padded as u32,
        };
        Sample::new(launch, operands)
    };
    [(None, false), (None, true), (Some([2e-3, 1e-3]), true)]
        .map(sample)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernel::sample::SIZES;

    #[test]
    fn only_wrong_gradients_have_suspects() {
        for precision in [Precision::F32, Precision::F64] {
            for sizes in SIZES {
                let mut sampler = Sampler::new(9, precision, sizes);
                let suspects = samples(&mut sampler).into_iter().map(|sample| {
                    let rows = 40 * sizes[0] as u32;
                    let columns = sizes[1].next_multiple_of(4) as u32;
                    let launch = Compare { rows, columns };
                    let comparison = launch.read(precision, &sample.expected(precision));
                    assert_eq!(
                        comparison.blocks.len(),
                        (rows as usize).div_ceil(BLOCK_ROWS)
                    );
                    comparison.suspects > 0
                });
                let suspects: Vec<bool> = suspects.collect();
                assert_eq!(suspects, [false, true, true], "{sizes:?}");
            }
        }
    }
}
