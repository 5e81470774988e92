//! Results in memory that host and device share. Buffers are used again: what is new is cleared page by page first.

use std::sync::{Arc, Mutex};

use bytemuck::Pod;

use super::GpuDevice;
use crate::error::Result;

/// Buffers that wait for their next use.
pub(super) type Pool = Arc<Mutex<Vec<wgpu::Buffer>>>;

/// The first elements of a device's buffer, as they were when its batch was done.
pub struct Readback {
    /// Unmapped before its buffer is given back.
    view: Option<wgpu::BufferView>,
    buffer: wgpu::Buffer,
    pool: Pool,
}

impl Readback {
    /// # Errors
    /// [`crate::error::Error::Gpu`] if the buffer is not mapped.
    pub(super) fn new(device: &GpuDevice, buffer: wgpu::Buffer, bytes: u64) -> Result<Self> {
        let view = buffer
            .get_mapped_range(..bytes)
            .map_err(|error| device.failed(error))?;
        Ok(Self {
            view: Some(view),
            buffer,
            pool: device.staging(),
        })
    }

    /// The elements.
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
    /// A buffer of at least so many bytes that the host can map.
    pub(super) fn staging_buffer(&self, bytes: u64) -> wgpu::Buffer {
        let fits = |buffer: &wgpu::Buffer| (bytes..=2 * bytes).contains(&buffer.size());
        let pooled = self.staging().lock().ok().and_then(|mut pool| {
            let index = pool.iter().position(fits)?;
            Some(pool.swap_remove(index))
        });
        pooled.unwrap_or_else(|| {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.buffer("staging", bytes, usage)
        })
    }
}
