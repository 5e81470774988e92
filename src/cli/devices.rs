//! `gradprobe devices`: the devices that can compute.

use crate::{
    device::{self, Device},
    gpu,
};

/// Returns the list of devices, each with its index for `--device` and the result of its
/// self-probe, and the device that `--device auto` selects.
pub(super) fn list() -> String {
    let cpu = device::cpu_info();
    let mut text = format!(
        "0  {} (cpu)\n   {}; {}; f64\n",
        cpu.name, cpu.backend, cpu.driver
    );
    for (index, adapter) in gpu::adapters().iter().enumerate() {
        let info = adapter.info();
        let (precision, probe) = match adapter.open() {
            Ok(device) if device.has_f64() => ("f32 and f64", "self-probe passed".to_owned()),
            Ok(_) => ("f32", "self-probe passed".to_owned()),
            Err(error) => ("f32", format!("self-probe failed: {error}")),
        };
        text += &format!(
            "{}  {} ({})\n   {}; {}; {precision}\n   {}; {probe}\n",
            index + 1,
            info.name,
            info.kind,
            info.backend,
            info.driver,
            adapter.limits_text(),
        );
    }
    if cfg!(not(feature = "gpu")) {
        text += "This build of gradprobe has no GPU engine; build it with --features gpu.\n";
    }
    if let Ok(auto) = Device::select("auto") {
        let info = auto.info();
        text += &format!("--device auto selects {} ({})\n", info.name, info.kind);
    }
    text
}
