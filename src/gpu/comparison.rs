//! The comparison on the device: what it takes, and what its records say.

use std::ops::Range;

use super::{Batch, Buffer, Element, GpuDevice, Kernel, Params, Readback, padded};
use crate::{
    cpu::compare::BLOCK_ROWS,
    engine::{Allowance, Block, BlockColumns, DeviceComparison},
    rounding::Caught,
    scheme::Precision,
};

/// Columns of a record, as in shaders/compare.wgsl; likewise the rest.
const STRIPE: usize = 64;
const COLUMN_SUMS: usize = 8;
const OF_ROWS: usize = COLUMN_SUMS * STRIPE;
const OF_ALL: usize = OF_ROWS + BLOCK_ROWS;
const TOTALS: usize = 11;
const RECORD: usize = OF_ALL + TOTALS;
/// 2^40.
const ROW_UNIT: f64 = 1_099_511_627_776.0;
const PER_OCTAVE: usize = 64;

/// The octaves of relative errors that are told apart: more than the type resolves.
const fn octaves(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 28,
        Precision::F64 => 58,
    }
}

/// What a comparison takes besides an evaluation.
pub struct ComparisonPass {
    allowance: Buffer,
    /// [rows, m].
    analytic: Buffer,
    records: Buffer,
    histogram: Buffer,
    /// Of the gradient, and the same with their padding.
    columns: [usize; 2],
}

impl ComparisonPass {
    /// For so many rows at a time of a gradient whose rows take `width` elements on the device.
    pub fn new<T: Element>(
        device: &GpuDevice,
        allowance: &Allowance,
        rows: usize,
        width: usize,
    ) -> Self {
        let columns = allowance.noise.len();
        Self {
            allowance: device.upload("allowance", &operand::<T>(allowance)),
            analytic: device.empty::<T>("analytic", rows * width),
            records: device.empty::<T>("records", elements(rows, columns)),
            histogram: device.empty::<u32>("histogram", bins(T::PRECISION)),
            columns: [columns, width],
        }
    }

    /// Appends the comparison of rows of a gradient with what was made of them: the derivative, the conditioning and the bounds.
    pub fn run<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        params: Params,
        gradient: Vec<T>,
        [derivative, conditioning, bounds]: [&Buffer; 3],
    ) {
        let [columns, width] = self.columns;
        batch.write(&self.analytic, &padded(gradient, columns, width));
        batch.write(&self.histogram, &vec![0u32; bins(T::PRECISION)]);
        let operands = [
            &self.allowance,
            &self.analytic,
            derivative,
            conditioning,
            bounds,
            &self.records,
            &self.histogram,
        ];
        batch.run(Kernel::Compare, params, &operands);
    }

    /// What of so many rows is to be read back.
    pub fn results<T: Element>(&self, rows: usize) -> [(&Buffer, usize); 2] {
        [
            (&self.records, elements(rows, self.columns[0])),
            (&self.histogram, bins(T::PRECISION)),
        ]
    }

    /// What it says of a range of rows.
    pub fn read<T: Element>(&self, rows: Range<usize>, results: &[Readback]) -> DeviceComparison {
        match results {
            [records, histogram] => {
                read::<T>(rows, self.columns[0], records.values(), histogram.values())
            }
            _ => DeviceComparison::default(),
        }
    }
}

/// The shader's `Allowance`, number by number.
fn operand<T: Element>(allowance: &Allowance) -> Vec<T> {
    let [rtol, atol] = allowance.given.unwrap_or_default();
    let per_normalizer = 1.0 / allowance.normalizer;
    let numbers = [
        per_normalizer,
        per_normalizer - T::of(per_normalizer).f64(),
        allowance.unit_roundoff,
        f64::from(u8::from(allowance.given.is_some())),
        allowance.rounding,
        allowance.drift,
        allowance.floor,
        rtol,
        atol,
        allowance.noise_by_magnitude,
        allowance.noise_drift,
        allowance.noise_floor,
        allowance.slack,
    ];
    let numbers = numbers.iter().chain(&allowance.noise);
    numbers.map(|&number| T::of(number)).collect()
}

/// Elements of the records of so many rows and columns.
fn elements(rows: usize, columns: usize) -> usize {
    rows.div_ceil(BLOCK_ROWS) * columns.div_ceil(STRIPE) * RECORD
}

/// Elements of the histogram.
fn bins(precision: Precision) -> usize {
    1 + octaves(precision) * PER_OCTAVE
}

/// What the records of a range of rows of so many columns say.
fn read<T: Element>(
    rows: Range<usize>,
    columns: usize,
    records: &[T],
    histogram: &[u32],
) -> DeviceComparison {
    let stripes = columns.div_ceil(STRIPE);
    let blocks = records.chunks_exact(stripes * RECORD);
    let starts = rows.clone().step_by(BLOCK_ROWS);
    let mut comparison = DeviceComparison {
        rel_err: occurred(T::PRECISION, histogram),
        ..DeviceComparison::default()
    };
    for (start, records) in starts.zip(blocks) {
        let rows = start..rows.end.min(start + BLOCK_ROWS);
        let mut block = Block {
            tolerance_numeric: vec![0.0; rows.len()],
            least_detectable: f64::INFINITY,
            rows,
            ..Block::default()
        };
        for (stripe, record) in records.chunks_exact(RECORD).enumerate() {
            let here = STRIPE.min(columns - stripe * STRIPE);
            comparison.suspects += add(&mut block, here, record);
        }
        comparison.blocks.push(block);
    }
    comparison
}

/// Adds the record of so many columns; returns how many suspects there were.
fn add<T: Element>(block: &mut Block, columns: usize, record: &[T]) -> u64 {
    let value = |index: usize| record[index].f64();
    let mut lost = 0;
    for lane in 0..columns {
        let unit = value(lane);
        let square = unit * unit;
        let BlockColumns {
            numeric_numeric,
            error_numeric,
            error_error,
            tolerance_tolerance,
            tolerance_numeric,
            noise_numeric,
            numeric_abs,
        } = &mut block.columns;
        // The shader's sums, in its order and in its units.
        let sums = [
            (numeric_numeric, square),
            (error_numeric, square),
            (error_error, square),
            (tolerance_tolerance, square * square),
            (tolerance_numeric, square),
            (noise_numeric, square),
            (numeric_abs, unit),
        ];
        for (index, (into, unit)) in sums.into_iter().enumerate() {
            let sum = value((1 + index) * STRIPE + lane);
            lost += u64::from(!sum.is_finite());
            into.push(sum * unit);
        }
    }
    for (row, sum) in block.tolerance_numeric.iter_mut().enumerate() {
        let value = value(OF_ROWS + row);
        lost += u64::from(!value.is_finite());
        *sum += value / (ROW_UNIT * ROW_UNIT);
    }
    let totals: [f64; TOTALS] = std::array::from_fn(|total| value(OF_ALL + total));
    let [
        rel_err,
        undecided,
        suspects,
        most,
        severity,
        zeroed,
        flipped,
        scaled,
        shuffled,
        moved,
        least,
    ] = totals;
    block.sum_rel_err += rel_err;
    block.undecided += undecided as u64;
    block.max_rel_err = block.max_rel_err.max(most);
    block.severity = block.severity.max(severity);
    block.caught.merge(Caught {
        zeroed: zeroed > 0.0,
        flipped: flipped > 0.0,
        scaled: scaled > 0.0,
        shuffled: shuffled > 0.0,
        moved: moved > 0.0,
    });
    // Nothing is detectable where every |numeric| is 0.
    if least < f64::from(f32::MAX) / 2.0 {
        block.least_detectable = block.least_detectable.min(least);
    }
    lost + u64::from(!rel_err.is_finite()) + suspects as u64
}

/// The middle of each bin that is not empty, and its count.
fn occurred(precision: Precision, histogram: &[u32]) -> Vec<(f64, u64)> {
    let error = |bin: usize| match bin.checked_sub(1) {
        None => 0.0,
        Some(bin) => {
            let octave = (bin / PER_OCTAVE) as i32 + 2 - octaves(precision) as i32;
            let share = ((bin % PER_OCTAVE) as f64 + 0.5) / PER_OCTAVE as f64;
            2f64.powi(octave) * (1.0 + share)
        }
    };
    let counts = histogram.iter().enumerate();
    counts
        .filter(|(_, count)| **count > 0)
        .map(|(bin, &count)| (error(bin), u64::from(count)))
        .collect()
}

/// How far two comparisons of the same rows are apart, and how far they may be, where that is less: `found` is a device's, whose numeric
/// gradient was rounded once more, by `slack` of it.
pub fn disagreement<T: Element>(
    found: &DeviceComparison,
    expected: &DeviceComparison,
    slack: f64,
) -> Option<(f64, f64)> {
    let rounding = ROUNDINGS * T::PRECISION.unit_roundoff();
    let mut pairs = vec![(found.suspects as f64, expected.suspects as f64, 0.0)];
    let count =
        |comparison: &DeviceComparison| comparison.rel_err.iter().map(|(_, count)| *count).sum();
    let entries: u64 = count(expected);
    pairs.push((count(found) as f64, entries as f64, 0.0));
    for (found, expected) in found.blocks.iter().zip(&expected.blocks) {
        pairs.extend(block_pairs(found, expected, slack, rounding));
    }
    // The middle of a bin is at most 0.8 % from what it counts, and what lies below the bins counts as 0.
    let sum = |comparison: &DeviceComparison| -> f64 {
        let errors = comparison.rel_err.iter();
        errors.map(|(error, count)| error * *count as f64).sum()
    };
    let lowest = 2f64.powi(2 - octaves(T::PRECISION) as i32);
    let bound = 0.01 * sum(expected) + entries as f64 * (2.0 * slack + lowest);
    pairs.push((sum(found), sum(expected), bound));
    if found.blocks.len() != expected.blocks.len() {
        return Some((found.blocks.len() as f64, expected.blocks.len() as f64));
    }
    let apart = pairs
        .into_iter()
        .map(|(a, b, bound)| ((a - b).abs(), bound));
    // Written so that NaN is too far.
    apart.into_iter().find(|(error, bound)| !(error <= bound))
}

/// Roundings that a sum of a block may add up.
const ROUNDINGS: f64 = 64.0;

/// What is to be compared of a block, and how far it may be apart.
fn block_pairs(found: &Block, expected: &Block, slack: f64, rounding: f64) -> Vec<(f64, f64, f64)> {
    let mut pairs = Vec::new();
    let (f, e) = (&found.columns, &expected.columns);
    for column in 0..e.numeric_numeric.len() {
        let mut pair = |found: &[f64], expected: &[f64], by_slack: f64| {
            let value = expected[column];
            pairs.push((found[column], value, value.abs() * rounding + by_slack));
        };
        let numeric = e.numeric_numeric[column].sqrt();
        let (errors, moved) = (e.error_error[column].sqrt(), slack * numeric);
        pair(&f.numeric_numeric, &e.numeric_numeric, 0.0);
        pair(
            &f.error_numeric,
            &e.error_numeric,
            moved * (numeric + errors),
        );
        pair(
            &f.error_error,
            &e.error_error,
            moved * (2.0 * errors + moved),
        );
        pair(&f.tolerance_tolerance, &e.tolerance_tolerance, 0.0);
        pair(&f.tolerance_numeric, &e.tolerance_numeric, 0.0);
        pair(&f.noise_numeric, &e.noise_numeric, 0.0);
        pair(&f.numeric_abs, &e.numeric_abs, 0.0);
    }
    let rows = found.tolerance_numeric.iter();
    for (&found, &value) in rows.zip(&expected.tolerance_numeric) {
        pairs.push((found, value, value * rounding));
    }
    let entries = (expected.rows.len() * e.numeric_numeric.len()) as f64;
    let relative = |value: f64| value * rounding;
    let mut pair = |found: f64, value: f64, bound: f64| pairs.push((found, value, bound));
    let (a, b) = (found, expected);
    let of_errors = entries * 2.0 * slack + relative(b.sum_rel_err);
    pair(a.sum_rel_err, b.sum_rel_err, of_errors);
    pair(
        a.max_rel_err,
        b.max_rel_err,
        2.0 * slack + relative(b.max_rel_err),
    );
    pair(a.undecided as f64, b.undecided as f64, 0.0);
    let of_severity = slack / b.least_detectable + relative(b.severity);
    pair(a.severity, b.severity, of_severity);
    pair(
        a.least_detectable,
        b.least_detectable,
        relative(b.least_detectable),
    );
    pair(f64::from(u8::from(a.caught != b.caught)), 0.0, 0.0);
    pairs
}
