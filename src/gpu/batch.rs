//! A sequence of dispatches, submitted at once, and the results read back.

use futures::{channel::oneshot, future::try_join_all};
use wgpu::util::DeviceExt;

use super::{Buffer, Device, Kernel, Params, device::ELEMENT};
use crate::error::Result;

/// Workgroups a dimension, on every adapter.
const MOST_WORKGROUPS: usize = 65_535;

/// Dispatches on their way; nothing runs before [`Batch::read`].
pub struct Batch<'a> {
    device: &'a Device,
    encoder: wgpu::CommandEncoder,
}

impl<'a> Batch<'a> {
    pub(super) fn new(device: &'a Device) -> Self {
        let encoder = device
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("batch"),
            });
        Self { device, encoder }
    }

    /// Appends a kernel over all entries that `params` describes; `operands` follow the params in its bindings.
    pub fn run(&mut self, kernel: Kernel, params: Params, operands: &[&Buffer]) {
        let pipeline = self
            .device
            .pipeline(kernel, kernel.threads_per_row(params.classes));
        self.run_pipeline(
            &pipeline,
            kernel.name(),
            &params,
            operands,
            kernel.workgroups(&params),
        );
    }

    pub(super) fn run_pipeline(
        &mut self,
        pipeline: &wgpu::ComputePipeline,
        name: &str,
        params: &Params,
        operands: &[&Buffer],
        workgroups: usize,
    ) {
        let device = &self.device.device;
        let uniform = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(name),
            contents: bytemuck::bytes_of(params),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let buffers =
            std::iter::once(&uniform).chain(operands.iter().map(|operand| &operand.inner));
        let entries: Vec<_> = buffers
            .enumerate()
            .map(|(index, buffer)| wgpu::BindGroupEntry {
                binding: index as u32,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(name),
            layout,
            entries: &entries,
        });
        let descriptor = wgpu::ComputePassDescriptor {
            label: Some(name),
            timestamp_writes: None,
        };
        let mut pass = self.encoder.begin_compute_pass(&descriptor);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        let height = workgroups.div_ceil(MOST_WORKGROUPS).max(1);
        pass.dispatch_workgroups(workgroups.div_ceil(height) as u32, height as u32, 1);
    }

    /// Submits everything, waits, and reads the first elements of each buffer back.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] if the driver reports a fault.
    pub fn read(mut self, wanted: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let mut mapped = Vec::new();
        let mut arrivals = Vec::new();
        for &(buffer, elements) in wanted {
            let staging = self.device.buffer("staging", elements, usage);
            self.encoder.copy_buffer_to_buffer(
                &buffer.inner,
                0,
                &staging,
                0,
                elements as u64 * ELEMENT,
            );
            let (done, arrival) = oneshot::channel();
            self.encoder
                .map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |result| {
                    // A receiver that is gone has given up already.
                    let _ = done.send(result);
                });
            arrivals.push(arrival);
            mapped.push((staging, elements));
        }
        self.device.queue.submit([self.encoder.finish()]);
        let waited = self.device.device.poll(wgpu::PollType::wait_indefinitely());
        self.device.check()?;
        waited.map_err(|error| self.device.failed(error))?;
        let arrived = pollster::block_on(try_join_all(arrivals))
            .map_err(|error| self.device.failed(error))?;
        arrived
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| self.device.failed(error))?;
        let copy = |(staging, elements): &(wgpu::Buffer, usize)| {
            let view = staging
                .get_mapped_range(..)
                .map_err(|error| self.device.failed(error))?;
            Ok(bytemuck::pod_collect_to_vec::<u8, f32>(
                &view[..elements * ELEMENT as usize],
            ))
        };
        mapped.iter().map(copy).collect()
    }
}
