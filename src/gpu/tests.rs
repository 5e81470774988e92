//! Tests of private items on every adapter. Tests of the public interface are in tests/gpu/.

use super::{GpuDevice, adapters};

mod engines;
mod functions;

/// Opens every adapter. Fails if there is none and GRADPROBE_GPU is `require`.
fn devices() -> Vec<GpuDevice> {
    let adapters = adapters();
    let is_required = std::env::var_os("GRADPROBE_GPU").is_some_and(|value| value == "require");
    assert!(
        !(is_required && adapters.is_empty()),
        "GRADPROBE_GPU=require, and there is no adapter"
    );
    let adapters = adapters.iter();
    adapters.map(|adapter| adapter.open().unwrap()).collect()
}
