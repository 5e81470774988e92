//! A sequence of launches that is submitted as a unit.

use std::marker::PhantomData;

use bytemuck::Pod;
use futures::channel::oneshot;
use wgpu::util::DeviceExt;

use super::{
    Buffer, Element, GpuDevice,
    kernel::{Launch, params::Uniform},
    readback::{STAMPS, Submitted},
};
use crate::{error::Result, report::DeviceKind};

/// Most workgroups in one dimension of a dispatch, on every adapter: a limit of WebGPU.
const MOST_WORKGROUPS: usize = 65_535;

/// A sequence of launches of kernels that compute in T. None runs before [`Batch::submit`].
pub struct Batch<'a, T> {
    device: &'a GpuDevice,
    dispatches: Vec<Dispatch>,
    arithmetic: PhantomData<T>,
}

struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: usize,
}

impl GpuDevice {
    /// Starts a sequence of dispatches.
    pub fn batch<T: Element>(&self) -> Batch<'_, T> {
        Batch::new(self)
    }
}

impl<'a, T: Element> Batch<'a, T> {
    pub(super) fn new(device: &'a GpuDevice) -> Self {
        Self {
            device,
            dispatches: Vec::new(),
            arithmetic: PhantomData,
        }
    }

    /// Overwrites the first elements of a buffer. Takes effect before the first launch.
    pub(super) fn write<V: Pod>(&self, buffer: &Buffer, values: &[V]) {
        self.device.write(buffer, values);
    }

    /// Appends a launch. Takes the operands in the order of the kernel's bindings.
    pub fn run(&mut self, launch: &dyn Launch, operands: &[&Buffer]) {
        self.run_variant(self.device.variants, launch, operands);
    }

    /// Appends a launch, with the pipeline constants for a kind of device.
    pub(super) fn run_variant(
        &mut self,
        kind: DeviceKind,
        launch: &dyn Launch,
        operands: &[&Buffer],
    ) {
        let constants = launch.constants(kind);
        let kernel = launch.kernel();
        let pipeline = self.device.pipeline(kernel, T::PRECISION, &constants);
        let uniform = Uniform::new::<T>(launch).bytes;
        let workgroups = launch.workgroups(&constants);
        self.dispatch(&pipeline, kernel.name, &uniform, operands, workgroups);
    }

    pub(super) fn dispatch(
        &mut self,
        pipeline: &wgpu::ComputePipeline,
        name: &str,
        uniform: &[u8],
        operands: &[&Buffer],
        workgroups: usize,
    ) {
        let (label, device) = (Some(name), &self.device.device);
        let uniform = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label,
            contents: uniform,
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let buffers = operands.iter().map(|operand| &operand.inner);
        let buffers = (0..).zip(std::iter::once(&uniform).chain(buffers));
        let entries: Vec<_> = buffers
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        self.dispatches.push(Dispatch {
            pipeline: pipeline.clone(),
            group,
            workgroups,
        });
    }

    /// Submits the launches, and copies of the first elements of some buffers to the host.
    pub fn submit(self, wanted: &[(&Buffer, usize)]) -> Submitted {
        let device = self.device;
        let label = Some("batch");
        let descriptor = wgpu::CommandEncoderDescriptor { label };
        let mut encoder = device.device.create_command_encoder(&descriptor);
        let stamps = device.has_timestamps().then(|| {
            device.device.create_query_set(&wgpu::QuerySetDescriptor {
                label,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            })
        });
        self.encode(&mut encoder, stamps.as_ref());
        let mut sources: Vec<(wgpu::Buffer, u64)> = wanted
            .iter()
            .map(|(buffer, elements)| (buffer.inner.clone(), buffer.bytes(*elements)))
            .collect();
        if let Some(stamps) = &stamps {
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolved = device.buffer("time stamps", STAMPS, usage);
            encoder.resolve_query_set(stamps, 0..2, &resolved, 0);
            sources.push((resolved, STAMPS));
        }
        let (mut staging, mut arrivals) = (Vec::new(), Vec::new());
        for (source, bytes) in sources {
            let buffer = device.staging_buffer(bytes);
            encoder.copy_buffer_to_buffer(&source, 0, &buffer, 0, bytes);
            let (done, arrival) = oneshot::channel();
            encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
                // The receiver is dropped if the caller no longer waits.
                let _ = done.send(result);
            });
            arrivals.push(arrival);
            staging.push((buffer, bytes));
        }
        Submitted {
            submission: device.queue.submit([encoder.finish()]),
            staging,
            arrivals,
            has_stamps: stamps.is_some(),
        }
    }

    /// Encodes the launches as one pass, with a time stamp before and after it.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, stamps: Option<&wgpu::QuerySet>) {
        let timestamp_writes = stamps.map(|query_set| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("batch"),
            timestamp_writes,
        });
        for dispatch in &self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.group, &[]);
            let height = dispatch.workgroups.div_ceil(MOST_WORKGROUPS).max(1);
            let width = dispatch.workgroups.div_ceil(height);
            pass.dispatch_workgroups(width as u32, height as u32, 1);
        }
    }

    /// Submits the launches, waits for them, and returns the first elements of some buffers.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the driver reports a fault.
    pub fn read(self, wanted: &[(&Buffer, usize)]) -> Result<Vec<Vec<T>>> {
        let device = self.device;
        let results = self.submit(wanted).wait(device)?;
        Ok(results.iter().map(|it| it.values().to_vec()).collect())
    }
}
