//! The records and the histogram that shaders/compare.wgsl writes. shaders/record.wgsl defines
//! their layout, with the same names.

use std::ops::Range;

use crate::{
    cpu::compare::BLOCK_ROWS,
    engine::{Block, BlockColumns, DeviceComparison},
    rounding::Caught,
    scheme::Precision,
};

/// Columns of a record: one for each lane of a workgroup.
const STRIPE: usize = 64;
const COLUMN_SUMS: usize = 8;
const OF_ROWS: usize = COLUMN_SUMS * STRIPE;
const OF_ALL: usize = OF_ROWS + BLOCK_ROWS;
const TOTALS: usize = 11;
const RECORD: usize = OF_ALL + TOTALS;
/// Unit of the row sums, 2^40.
const ROW_UNIT: f64 = 1_099_511_627_776.0;
const BINS_PER_OCTAVE: usize = 64;

/// Octaves that the histogram resolves, `OCTAVES` in shaders/f32.wgsl and f64.wgsl.
pub(in crate::gpu) const fn octaves(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 28,
        Precision::F64 => 58,
    }
}

/// Returns the number of bins.
pub(in crate::gpu) fn bins(precision: Precision) -> usize {
    1 + octaves(precision) * BINS_PER_OCTAVE
}

/// Returns the number of elements of the records for `rows` by `columns` entries.
pub(in crate::gpu) fn elements(rows: usize, columns: usize) -> usize {
    rows.div_ceil(BLOCK_ROWS) * columns.div_ceil(STRIPE) * RECORD
}

/// Reads the records of a range of rows of `columns` entries each.
pub(in crate::gpu) fn read(
    precision: Precision,
    rows: Range<usize>,
    columns: usize,
    records: &[f64],
    histogram: &[u32],
) -> DeviceComparison {
    let stripes = columns.div_ceil(STRIPE);
    let blocks = records.chunks_exact(stripes * RECORD);
    let starts = rows.clone().step_by(BLOCK_ROWS);
    let mut comparison = DeviceComparison {
        rel_err: occurred(precision, histogram),
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

/// Adds the record of the next `columns` columns to a block. Returns the number of suspects, plus
/// the number of sums that are not finite.
fn add(block: &mut Block, columns: usize, record: &[f64]) -> u64 {
    let mut lost = 0;
    for lane in 0..columns {
        let unit = record[lane];
        let square = unit * unit;
        // The units in the order of the sums.
        let units = [
            square,
            square,
            square,
            square * square,
            square,
            square,
            unit,
        ];
        for (sum, (into, unit)) in (1..).zip(sums(&mut block.columns).into_iter().zip(units)) {
            let value = record[sum * STRIPE + lane];
            lost += u64::from(!value.is_finite());
            into.push(value * unit);
        }
    }
    for (sum, value) in block.tolerance_numeric.iter_mut().zip(&record[OF_ROWS..]) {
        lost += u64::from(!value.is_finite());
        *sum += value / (ROW_UNIT * ROW_UNIT);
    }
    let totals: [f64; TOTALS] = std::array::from_fn(|total| record[OF_ALL + total]);
    let [
        rel_err,
        undecided,
        suspects,
        max_rel_err,
        severity,
        zeroed,
        flipped,
        scaled,
        shuffled,
        shuffle_differs,
        least_detectable,
    ] = totals;
    block.sum_rel_err += rel_err;
    block.undecided += undecided as u64;
    block.max_rel_err = block.max_rel_err.max(max_rel_err);
    block.severity = block.severity.max(severity);
    block.caught.merge(Caught {
        zeroed: zeroed > 0.0,
        flipped: flipped > 0.0,
        scaled: scaled > 0.0,
        shuffled: shuffled > 0.0,
        shuffle_differs: shuffle_differs > 0.0,
    });
    // The shader begins with LARGEST, which remains if every |numeric| is 0.
    if least_detectable < f64::from(f32::MAX) / 2.0 {
        block.least_detectable = block.least_detectable.min(least_detectable);
    }
    lost + u64::from(!rel_err.is_finite()) + suspects as u64
}

/// Returns the sums of the columns in the shader's order, without the unit.
fn sums(columns: &mut BlockColumns) -> [&mut Vec<f64>; COLUMN_SUMS - 1] {
    let BlockColumns {
        numeric_numeric,
        error_numeric,
        error_error,
        tolerance_tolerance,
        tolerance_numeric,
        noise_numeric,
        numeric_abs,
    } = columns;
    [
        numeric_numeric,
        error_numeric,
        error_error,
        tolerance_tolerance,
        tolerance_numeric,
        noise_numeric,
        numeric_abs,
    ]
}

/// Writes a comparison in the layout that [`read`] reads. All sums have the unit 1, and the record
/// of the first columns holds the totals of a block.
pub(in crate::gpu) fn write(comparison: DeviceComparison, columns: usize, records: &mut [f64]) {
    let mut suspects = comparison.suspects as f64;
    records.fill(0.0);
    let blocks = records.chunks_exact_mut(columns.div_ceil(STRIPE) * RECORD);
    for (mut block, records) in comparison.blocks.into_iter().zip(blocks) {
        for (stripe, record) in records.chunks_exact_mut(RECORD).enumerate() {
            let stripe = stripe * STRIPE..columns.min((stripe + 1) * STRIPE);
            record[..stripe.len()].fill(1.0);
            for (sum, values) in (1..).zip(sums(&mut block.columns)) {
                record[sum * STRIPE..][..stripe.len()].copy_from_slice(&values[stripe.clone()]);
            }
            record[OF_ALL + TOTALS - 1] = f64::MAX;
        }
        for (row, sum) in block.tolerance_numeric.iter().enumerate() {
            records[OF_ROWS + row] = sum * (ROW_UNIT * ROW_UNIT);
        }
        let Caught {
            zeroed,
            flipped,
            scaled,
            shuffled,
            shuffle_differs,
        } = block.caught;
        let number = |caught: bool| f64::from(u8::from(caught));
        let totals: [f64; TOTALS] = [
            block.sum_rel_err,
            block.undecided as f64,
            std::mem::take(&mut suspects),
            block.max_rel_err,
            block.severity,
            number(zeroed),
            number(flipped),
            number(scaled),
            number(shuffled),
            number(shuffle_differs),
            block.least_detectable.min(f64::MAX),
        ];
        records[OF_ALL..RECORD].copy_from_slice(&totals);
    }
}

/// Returns the bin of a relative error.
pub(in crate::gpu) fn bin(precision: Precision, rel_err: f64) -> usize {
    if rel_err == 0.0 {
        return 0;
    }
    let octave = rel_err.log2().floor();
    let share = rel_err / octave.exp2() - 1.0;
    let octave = octave as i32 - 2 + octaves(precision) as i32;
    let bin = 1 + octave * BINS_PER_OCTAVE as i32 + (share * BINS_PER_OCTAVE as f64) as i32;
    bin.clamp(0, bins(precision) as i32 - 1) as usize
}

/// Returns the middle of each bin that is not empty, and its count.
fn occurred(precision: Precision, histogram: &[u32]) -> Vec<(f64, u64)> {
    let error = |bin: usize| match bin.checked_sub(1) {
        None => 0.0,
        Some(bin) => {
            let octave = (bin / BINS_PER_OCTAVE) as i32 + 2 - octaves(precision) as i32;
            let share = ((bin % BINS_PER_OCTAVE) as f64 + 0.5) / BINS_PER_OCTAVE as f64;
            2f64.powi(octave) * (1.0 + share)
        }
    };
    let counts = histogram.iter().enumerate();
    counts
        .filter(|(_, count)| **count > 0)
        .map(|(bin, &count)| (error(bin), u64::from(count)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_found_by_its_middle() {
        for precision in [Precision::F32, Precision::F64] {
            let all = vec![1; bins(precision)];
            for (index, (error, count)) in occurred(precision, &all).into_iter().enumerate() {
                assert_eq!((bin(precision, error), count), (index, 1), "{error:e}");
            }
            assert_eq!(bin(precision, 2.0), bins(precision) - 64);
        }
    }
}
