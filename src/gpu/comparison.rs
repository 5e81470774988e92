//! The comparison on the device: its buffers, its launch, and its results.

use std::ops::Range;

use super::{
    Batch, Buffer, Columns, Element, GpuDevice, Readback,
    kernel::compare::{Compare, allowance, record},
};
use crate::engine::{Allowance, DeviceComparison};

/// The buffers that a comparison needs besides those of an evaluation.
pub(super) struct ComparisonPass {
    allowance: Buffer,
    /// The gradient under test, [rows, m].
    analytic: Buffer,
    records: Buffer,
    histogram: Buffer,
    columns: Columns,
}

impl ComparisonPass {
    /// Creates the buffers for calls of at most `rows` rows.
    pub(super) fn new<T: Element>(
        device: &GpuDevice,
        allowance: &Allowance,
        rows: usize,
        columns: Columns,
    ) -> Self {
        let bounds = allowance::to_operand(allowance, T::PRECISION);
        let bounds: Vec<T> = bounds.into_iter().map(T::of).collect();
        let records = record::elements(rows, columns.count);
        Self {
            allowance: device.upload("allowance", &bounds),
            analytic: device.empty::<T>("analytic", rows * columns.padded),
            records: device.empty::<T>("records", records),
            histogram: device.empty::<u32>("histogram", record::bins(T::PRECISION)),
            columns,
        }
    }

    /// Appends the comparison of `rows` rows of a gradient with their derivative, conditioning and
    /// bounds.
    pub(super) fn run<T: Element>(
        &self,
        batch: &mut Batch<'_, T>,
        rows: usize,
        gradient: Vec<T>,
        [derivative, conditioning, bounds]: [&Buffer; 3],
    ) {
        batch.write(&self.analytic, &self.columns.pad(gradient));
        batch.write(&self.histogram, &vec![0u32; record::bins(T::PRECISION)]);
        let launch = Compare {
            rows: rows as u32,
            columns: self.columns.padded as u32,
        };
        let operands = [
            &self.allowance,
            &self.analytic,
            derivative,
            conditioning,
            bounds,
            &self.records,
            &self.histogram,
        ];
        batch.run(&launch, &operands);
    }

    /// Returns the buffers to read back, each with its number of elements.
    pub(super) fn results<T: Element>(&self, rows: usize) -> [(&Buffer, usize); 2] {
        [
            (&self.records, record::elements(rows, self.columns.count)),
            (&self.histogram, record::bins(T::PRECISION)),
        ]
    }

    /// Reads the results of a range of rows.
    pub(super) fn read<T: Element>(
        &self,
        rows: Range<usize>,
        results: &[Readback],
    ) -> DeviceComparison {
        let [records, histogram] = results else {
            return DeviceComparison::default();
        };
        let values: Vec<f64> = records.values::<T>().iter().map(|v| v.f64()).collect();
        let columns = self.columns.count;
        record::read(T::PRECISION, rows, columns, &values, histogram.values())
    }
}
