//! Trials: a kernel's sample launches, run on a device and compared with the twin's results.

use super::{
    Buffer, Element, GpuDevice,
    kernel::{
        Outcome,
        operand::{Disagreement, Operand},
        sample::Sample,
    },
};
use crate::{error::Result, report::DeviceKind};

impl Sample {
    /// Runs the launch, with the pipeline constants for `kind`, and returns the first result that
    /// differs from the twin's by more than rounding explains.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the driver reports a fault.
    pub fn disagreement<T: Element>(
        &self,
        device: &GpuDevice,
        kind: DeviceKind,
    ) -> Result<Option<Disagreement>> {
        Ok(self.launch().disagreement(&Outcome {
            precision: T::PRECISION,
            before: &self.rounded(T::PRECISION),
            found: &self.found::<T>(device, kind)?,
            expected: &self.expected(T::PRECISION),
        }))
    }

    /// Returns the operands as the device leaves them.
    fn found<T: Element>(&self, device: &GpuDevice, kind: DeviceKind) -> Result<Vec<Operand>> {
        let bindings = self.launch().kernel().bindings;
        let pairs = self.operands.iter().zip(bindings);
        let buffers: Vec<Buffer> = pairs
            .map(|(operand, binding)| match operand {
                Operand::Counts(values) => device.upload(binding.name, values),
                Operand::Numbers(values) => {
                    let values: Vec<T> = values.iter().map(|&v| T::of(v)).collect();
                    device.upload(binding.name, &values)
                }
            })
            .collect();
        let mut batch = device.batch::<T>();
        let operands: Vec<&Buffer> = buffers.iter().collect();
        batch.run_variant(kind, self.launch(), &operands);
        let lengths = self.operands.iter().map(Operand::len);
        let wanted: Vec<(&Buffer, usize)> = operands.into_iter().zip(lengths).collect();
        let found = batch.submit(&wanted).wait(device)?;
        let pairs = found.iter().zip(&self.operands);
        let found = pairs.map(|(found, operand)| match operand {
            Operand::Counts(_) => Operand::Counts(found.values::<u32>().to_vec()),
            Operand::Numbers(_) => {
                Operand::Numbers(found.values::<T>().iter().map(|v| v.f64()).collect())
            }
        });
        Ok(found.collect())
    }
}
