//! The adapters to test on.

use gradprobe::gpu;

/// Opens and probes every adapter. Panics if there is none and GRADPROBE_GPU is `require`.
pub(crate) fn devices() -> Vec<gpu::GpuDevice> {
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
