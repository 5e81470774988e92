//! The devices to test on.

use gradprobe::{
    device::Device,
    gpu::{self, GpuDevice},
};

/// The CPU engine.
pub(crate) const CPU: Device = Device::Cpu { note: None };

/// Opens and probes every adapter. Panics if there is none and GRADPROBE_GPU is `require`.
pub(crate) fn devices() -> Vec<GpuDevice> {
    let adapters = gpu::adapters();
    let required = std::env::var_os("GRADPROBE_GPU").is_some_and(|value| value == "require");
    assert!(
        !(required && adapters.is_empty()),
        "GRADPROBE_GPU=require, and there is no adapter"
    );
    adapters
        .iter()
        .map(|adapter| adapter.open().unwrap())
        .collect()
}

/// Returns every adapter.
pub(crate) fn gpus() -> impl Iterator<Item = Device> {
    devices()
        .into_iter()
        .map(|device| Device::Gpu(Box::new(device)))
}

/// Returns the CPU engine and every adapter.
pub(crate) fn all_devices() -> impl Iterator<Item = Device> {
    std::iter::once(CPU).chain(gpus())
}
