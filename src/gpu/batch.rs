//! A sequence of dispatches, submitted at once, and the results read back.

use std::{marker::PhantomData, time::Instant};

use bytemuck::Pod;
use futures::{channel::oneshot, future::try_join_all};
use wgpu::util::DeviceExt;

use super::{Buffer, Element, GpuDevice, Kernel, Params, Readback};
use crate::error::Result;

/// Workgroups a dimension, on every adapter.
const MOST_WORKGROUPS: usize = 65_535;

/// Dispatches on their way, of kernels in the arithmetic of T; nothing runs before [`Batch::submit`].
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

/// What was submitted and is not yet read back.
pub struct Pending {
    submission: wgpu::SubmissionIndex,
    /// Buffers that the results are copied to, and how many bytes each has.
    staging: Vec<(wgpu::Buffer, u64)>,
    arrivals: Vec<oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>>,
    /// Whether the last of the buffers holds the time stamps of the beginning and the end.
    has_stamps: bool,
}

/// Bytes of two time stamps.
const STAMPS: u64 = 16;

impl<'a, T: Element> Batch<'a, T> {
    pub(super) fn new(device: &'a GpuDevice) -> Self {
        Self {
            device,
            dispatches: Vec::new(),
            arithmetic: PhantomData,
        }
    }

    /// Overwrites the beginning of a buffer before the first kernel runs.
    pub(super) fn write<V: Pod>(&self, buffer: &Buffer, values: &[V]) {
        self.device.write(buffer, values);
    }

    /// Appends a kernel over all entries that `params` describes; `operands` follow the params in its bindings.
    pub fn run(&mut self, kernel: Kernel, params: Params, operands: &[&Buffer]) {
        let constants = kernel.constants(&params, self.device.suits());
        let workgroups = kernel.workgroups(&params, &constants);
        let pipeline = self.device.pipeline(kernel, T::PRECISION, constants);
        self.run_pipeline(&pipeline, kernel.name(), &params, operands, workgroups);
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
            contents: &params.bytes::<T>(),
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
        self.dispatches.push(Dispatch {
            pipeline: pipeline.clone(),
            group,
            workgroups,
        });
    }

    /// Submits everything, and the copies of the first elements of each buffer to the host.
    pub fn submit(self, wanted: &[(&Buffer, usize)]) -> Pending {
        let device = self.device;
        let label = Some("batch");
        let mut encoder = device
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        let stamps = device.has_timestamps().then(|| {
            device.device.create_query_set(&wgpu::QuerySetDescriptor {
                label,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            })
        });
        let timestamp_writes = stamps
            .as_ref()
            .map(|query_set| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label,
            timestamp_writes,
        });
        for dispatch in &self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.group, &[]);
            let height = dispatch.workgroups.div_ceil(MOST_WORKGROUPS).max(1);
            pass.dispatch_workgroups(
                dispatch.workgroups.div_ceil(height) as u32,
                height as u32,
                1,
            );
        }
        drop(pass);
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
                // A receiver that is gone has given up already.
                let _ = done.send(result);
            });
            arrivals.push(arrival);
            staging.push((buffer, bytes));
        }
        Pending {
            submission: device.queue.submit([encoder.finish()]),
            staging,
            arrivals,
            has_stamps: stamps.is_some(),
        }
    }

    /// Submits everything, waits, and reads the first elements of each buffer back.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] if the driver reports a fault.
    pub fn read(self, wanted: &[(&Buffer, usize)]) -> Result<Vec<Vec<T>>> {
        let device = self.device;
        let results = self.submit(wanted).wait(device)?;
        Ok(results.iter().map(|it| it.values().to_vec()).collect())
    }
}

impl Pending {
    /// Waits until what was wanted can be read.
    ///
    /// # Errors
    /// [`crate::error::Error::Gpu`] if the driver reports a fault.
    pub fn wait(self, device: &GpuDevice) -> Result<Vec<Readback>> {
        let started = Instant::now();
        let waited = device.device.poll(wgpu::PollType::Wait {
            submission_index: Some(self.submission),
            timeout: None,
        });
        device.check()?;
        waited.map_err(|error| device.failed(error))?;
        let arrived = pollster::block_on(try_join_all(self.arrivals))
            .map_err(|error| device.failed(error))?;
        arrived
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| device.failed(error))?;
        device.time(|timing| timing.wait += started.elapsed().as_secs_f64());
        let buffers = self.staging.into_iter();
        let mut results: Vec<Readback> = buffers
            .map(|(buffer, bytes)| Readback::new(device, buffer, bytes))
            .collect::<Result<_>>()?;
        if self.has_stamps
            && let Some(stamps) = results.pop()
        {
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(stamps.values::<u8>());
            let seconds = device.seconds(ticks[1].saturating_sub(ticks[0]));
            device.time(|timing| timing.kernels += seconds);
        }
        Ok(results)
    }
}
