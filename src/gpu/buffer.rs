//! Storage buffers.

use std::time::Instant;

use bytemuck::Pod;

use super::GpuDevice;

/// Bytes of the smallest buffer: four numbers in f64, the most that a kernel reads at once.
const SMALLEST: u64 = 32;

/// A storage buffer.
#[derive(Debug)]
pub struct Buffer {
    pub(super) inner: wgpu::Buffer,
    /// Bytes of an element.
    width: usize,
}

impl Buffer {
    /// Returns the size of `elements` elements in bytes.
    pub(super) fn bytes(&self, elements: usize) -> u64 {
        (elements * self.width) as u64
    }
}

impl GpuDevice {
    /// Creates a buffer of `values`.
    pub fn upload<T: Pod>(&self, label: &str, values: &[T]) -> Buffer {
        let buffer = self.empty::<T>(label, values.len());
        self.write(&buffer, values);
        buffer
    }

    /// Creates a buffer of zeros. It has a few elements even if `elements` is 0, because an empty
    /// buffer cannot be bound.
    pub fn empty<T>(&self, label: &str, elements: usize) -> Buffer {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        let width = size_of::<T>();
        Buffer {
            inner: self.buffer(label, (elements * width) as u64, usage),
            width,
        }
    }

    /// Overwrites the first elements of a buffer.
    pub fn write<T: Pod>(&self, buffer: &Buffer, values: &[T]) {
        let started = Instant::now();
        let bytes = bytemuck::cast_slice(values);
        self.queue.write_buffer(&buffer.inner, 0, bytes);
        self.time(|timing| timing.upload += started.elapsed().as_secs_f64());
    }

    pub(super) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.max(SMALLEST),
            usage,
            mapped_at_creation: false,
        })
    }
}
