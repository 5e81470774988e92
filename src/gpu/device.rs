//! An open device: its limits, its clocks, and the faults that its driver reports.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex},
};

use crate::{
    budget::{GPU_ENTRIES, GPU_MEMORY, GPU_WORK, SOFTWARE_ENTRIES, SOFTWARE_WORK},
    engine::Timing,
    error::{Error, Result},
    report::{DeviceInfo, DeviceKind},
    scheme::Precision,
};

/// The cached pipelines, by the kernel's name, the arithmetic and the constants.
type Pipelines = HashMap<(&'static str, Precision, Constants), Rc<wgpu::ComputePipeline>>;
/// The names and values of pipeline constants.
type Constants = Vec<(&'static str, usize)>;

/// Buffers for reuse that the host can map.
pub(super) type Pool = Arc<Mutex<Vec<wgpu::Buffer>>>;

/// Features that kernels in f64 need. They manipulate the bits of numbers, so they need 64-bit
/// integers too.
pub(super) const F64: wgpu::Features =
    wgpu::Features::SHADER_F64.union(wgpu::Features::SHADER_INT64);

/// An adapter that was opened.
#[derive(Debug)]
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: DeviceInfo,
    /// The kind of device whose pipeline constants the kernels get. Tests set it to another kind.
    pub(super) variants: DeviceKind,
    /// The largest number of bytes in one binding.
    pub(super) binding_bytes: u64,
    memory: u64,
    pub(super) pipelines: RefCell<Pipelines>,
    timing: RefCell<Timing>,
    /// Buffers for results.
    pub(super) staging: Pool,
    /// Set by the first call of [`GpuDevice::has_f64`].
    pub(super) has_f64: OnceCell<bool>,
    /// The first error that reached wgpu's handler for uncaptured errors.
    fault: Arc<Mutex<Option<String>>>,
}

impl GpuDevice {
    pub(super) fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: DeviceInfo,
        limits: &wgpu::Limits,
    ) -> Self {
        let fault = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&fault);
        // Without a handler, wgpu panics.
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut seen) = seen.lock() {
                seen.get_or_insert(one_line(&error.to_string()));
            }
        }));
        Self {
            device,
            queue,
            variants: info.kind,
            info,
            binding_bytes: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size),
            memory: GPU_MEMORY,
            pipelines: RefCell::default(),
            timing: RefCell::default(),
            staging: Pool::default(),
            has_f64: OnceCell::new(),
            fault,
        }
    }

    /// Returns the name, the kind and the driver.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Returns the largest number of elements in one binding.
    pub(super) fn binding_elements<T>(&self) -> usize {
        self.binding_bytes as usize / size_of::<T>()
    }

    /// Returns the number of elements that all buffers of one evaluation may hold together.
    pub(super) fn memory_elements<T>(&self) -> usize {
        self.memory as usize / size_of::<T>()
    }

    /// Sets the number of bytes that all buffers of one evaluation may take together.
    pub fn limit_memory(&mut self, bytes: u64) {
        self.memory = bytes;
    }

    /// Returns the time that the device has spent since it was opened.
    pub fn timing(&self) -> Timing {
        *self.timing.borrow()
    }

    /// Adds to the device's times.
    pub(super) fn time(&self, add: impl FnOnce(&mut Timing)) {
        add(&mut self.timing.borrow_mut());
    }

    /// Returns true if kernels can be timed.
    pub(super) fn has_timestamps(&self) -> bool {
        let features = self.device.features();
        features.contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Converts ticks of the device's clock to seconds.
    pub(super) fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 * f64::from(self.queue.get_timestamp_period()) * 1e-9
    }

    /// Returns the largest number of entries per submission.
    pub(super) fn most_entries(&self) -> usize {
        match self.info.kind {
            DeviceKind::Software => SOFTWARE_ENTRIES,
            _ => GPU_ENTRIES,
        }
    }

    /// Returns the largest number of multiply-adds per submission.
    pub(super) fn most_multiply_adds(&self) -> usize {
        match self.info.kind {
            DeviceKind::Software => SOFTWARE_WORK,
            _ => GPU_WORK,
        }
    }

    /// Destroys the device, as a reset of the driver would. Every later call fails.
    #[cfg(test)]
    pub(crate) fn destroy(&self) {
        self.device.destroy();
    }

    /// Checks for faults.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver has reported a fault since the device was opened.
    pub(super) fn check(&self) -> Result<()> {
        let fault = self.fault.lock().ok().and_then(|fault| fault.clone());
        fault.map_or(Ok(()), |reason| Err(self.failed(reason)))
    }

    /// Returns an error of this device.
    pub(super) fn failed(&self, reason: impl ToString) -> Error {
        Error::Gpu {
            device: self.info.name.clone(),
            reason: one_line(&reason.to_string()),
        }
    }
}

/// Joins the lines of a message: those of drivers and validators are whole paragraphs.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
