//! Results in transfer to the host. Their buffers are reused, because the system clears the pages
//! of a new buffer first.

use std::{sync::Arc, time::Instant};

use bytemuck::Pod;
use futures::{channel::oneshot, future::try_join_all};

use super::{GpuDevice, device::Pool};
use crate::error::Result;

/// Bytes of two time stamps.
pub(super) const STAMPS: u64 = 16;

/// A batch that was submitted.
pub struct Submitted {
    pub(super) submission: wgpu::SubmissionIndex,
    /// The buffers that the results are copied to, and the bytes of each.
    pub(super) staging: Vec<(wgpu::Buffer, u64)>,
    pub(super) arrivals: Vec<oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>>,
    /// True if the last buffer holds the time stamps of the beginning and the end.
    pub(super) has_stamps: bool,
}

impl Submitted {
    /// Waits for the results.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the driver reports a fault.
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

/// The first elements of a buffer at the end of its batch, in memory that the host and the device
/// share.
pub struct Readback {
    /// Dropped before its buffer is unmapped.
    view: Option<wgpu::BufferView>,
    buffer: wgpu::Buffer,
    pool: Pool,
}

impl Readback {
    /// Takes the mapped bytes of a staging buffer.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) if the buffer is not mapped.
    fn new(device: &GpuDevice, buffer: wgpu::Buffer, bytes: u64) -> Result<Self> {
        let view = buffer
            .get_mapped_range(..bytes)
            .map_err(|error| device.failed(error))?;
        Ok(Self {
            view: Some(view),
            buffer,
            pool: Arc::clone(&device.staging),
        })
    }

    /// Returns the elements.
    pub fn values<T: Pod>(&self) -> &[T] {
        self.view
            .as_ref()
            .map_or(&[], |view| bytemuck::cast_slice(view))
    }
}

impl Drop for Readback {
    fn drop(&mut self) {
        self.view = None;
        self.buffer.unmap();
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(self.buffer.clone());
        }
    }
}

impl GpuDevice {
    /// Returns a buffer that the host can map, of at least `bytes` and at most `2 * bytes` bytes.
    pub(super) fn staging_buffer(&self, bytes: u64) -> wgpu::Buffer {
        let fits = |buffer: &wgpu::Buffer| (bytes..=2 * bytes).contains(&buffer.size());
        let pooled = self.staging.lock().ok().and_then(|mut pool| {
            let index = pool.iter().position(fits)?;
            Some(pool.swap_remove(index))
        });
        pooled.unwrap_or_else(|| {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.buffer("staging", bytes, usage)
        })
    }
}
