//! Lists the adapters, and opens one.

use super::{GpuDevice, device::F64, probe::probe};
use crate::{
    error::{Error, Result},
    report::{DeviceInfo, DeviceKind},
};

/// An adapter that a driver offers.
#[derive(Debug)]
pub struct Adapter {
    adapter: wgpu::Adapter,
    info: DeviceInfo,
}

/// Lists all adapters, GPUs first. Loads the drivers.
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
        let driver = format!("{} {}", found.driver, found.driver_info);
        let info = DeviceInfo {
            name: found.name,
            kind,
            backend: found.backend.to_string(),
            driver: driver.trim().to_owned(),
            note: None,
        };
        Self { adapter, info }
    }

    /// Returns the name, the kind and the driver.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Describes the adapter's limits.
    pub fn limits_text(&self) -> String {
        let limits = self.adapter.limits();
        format!(
            "{} MiB per binding, {} threads per workgroup",
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_compute_invocations_per_workgroup
        )
    }

    /// Opens the adapter and runs the self-probe.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the driver offers no device, [`Error::Miscomputes`] if the device fails
    /// the self-probe.
    pub fn open(&self) -> Result<GpuDevice> {
        let limits = self.adapter.limits();
        let optional = wgpu::Features::TIMESTAMP_QUERY | F64;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gradprobe"),
            required_features: self.adapter.features() & optional,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let opened = pollster::block_on(self.adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|error| Error::Gpu {
            device: self.info.name.clone(),
            reason: error.to_string(),
        })?;
        let device = GpuDevice::new(device, queue, self.info.clone(), &limits);
        probe::<f32>(&device)?;
        Ok(device)
    }
}
