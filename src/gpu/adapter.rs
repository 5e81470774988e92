//! Which adapters there are, and how to open one.

use super::{GpuDevice, device::F64, probe::probe};
use crate::{
    error::{Error, Result},
    report::{DeviceInfo, DeviceKind},
};

/// An adapter that its driver offers.
#[derive(Debug)]
pub struct Adapter {
    adapter: wgpu::Adapter,
    info: DeviceInfo,
}

/// All adapters, real GPUs first. Starts the drivers.
pub fn adapters() -> Vec<Adapter> {
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let mut adapters: Vec<Adapter> = adapters.into_iter().map(Adapter::new).collect();
    adapters.sort_by_key(|adapter| adapter.info.kind == DeviceKind::Software);
    adapters
}

impl Adapter {
    fn new(adapter: wgpu::Adapter) -> Self {
        let found = adapter.get_info();
        let kind = match found.device_type {
            wgpu::DeviceType::Cpu => DeviceKind::Software,
            _ => DeviceKind::Gpu,
        };
        let driver = format!("{} {}", found.driver, found.driver_info)
            .trim()
            .to_owned();
        let info = DeviceInfo {
            name: found.name,
            kind,
            backend: found.backend.to_string(),
            driver,
            note: None,
        };
        Self { adapter, info }
    }

    /// Name, type and driver.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Its limits in words.
    pub fn limits_text(&self) -> String {
        let limits = self.adapter.limits();
        format!(
            "binds {} MiB, {} threads a workgroup",
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_compute_invocations_per_workgroup
        )
    }

    /// Opens the adapter and probes it with a small problem through every kernel.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver does not give a device, [`Error::Miscomputes`] if it fails the self-probe.
    pub fn open(&self) -> Result<GpuDevice> {
        let failed = |reason: String| Error::Gpu {
            device: self.info.name.clone(),
            reason,
        };
        let limits = self.adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gradprobe"),
            // To time kernels, and for f64, where it can.
            required_features: self.adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | F64),
            required_limits: limits.clone(),
            ..Default::default()
        };
        let opened = pollster::block_on(self.adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|error| failed(error.to_string()))?;
        let device = GpuDevice::new(device, queue, self.info.clone(), &limits);
        probe::<f32>(&device)?;
        Ok(device)
    }
}
