//! `gradprobe bench`: the speed of a check on each device.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{SUCCESS, destination::Destination, stdout::print, values::count};
use crate::{bench, device::Device, error::Result, gpu, output};

#[derive(Args)]
pub(super) struct BenchArguments {
    /// Number of samples
    #[arg(short, default_value_t = 16_384, value_parser = count)]
    n: usize,
    /// Number of features
    #[arg(short, default_value_t = 784, value_parser = count)]
    d: usize,
    /// Number of classes
    #[arg(short, default_value_t = 10, value_parser = count)]
    k: usize,
    /// Time each check N times and report the fastest
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = count)]
    repeat: usize,
    /// Device to time, as for gradprobe check [default: all]
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Write the timings as JSON (-: on stdout, instead of the table)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

impl BenchArguments {
    pub(super) fn run(self) -> Result<u8> {
        let devices = match &self.device {
            Some(device) => vec![Device::select(device)?],
            None => every_device(),
        };
        let json = Destination::open(self.json.as_deref())?;
        let (n, d, k) = (self.n, self.d, self.k);
        let bar = bar((self.repeat + 1) * devices.len());
        let mut progress = |device: &str| {
            bar.set_message(device.to_owned());
            bar.inc(1);
        };
        let sizes = bench::Sizes { n, d, k };
        let bench = bench::bench(sizes, self.repeat, &devices, &mut progress)?;
        bar.finish_and_clear();
        let is_taken = json.is_stdout();
        json.write(|| output::bench::json(&bench))?;
        if !is_taken {
            print(&output::bench::render(&bench))?;
        }
        Ok(SUCCESS)
    }
}

/// Returns a bar over this many checks, which shows on a terminal only.
fn bar(checks: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} check {pos} of {len}");
    let style = style.expect("the template is a constant");
    ProgressBar::new(checks as u64)
        .with_style(style)
        .with_message("preparing")
}

/// Returns the CPU engine and every adapter that can be opened.
fn every_device() -> Vec<Device> {
    let mut devices = vec![Device::Cpu { note: None }];
    for adapter in gpu::adapters() {
        match adapter.open() {
            Ok(device) => devices.push(Device::Gpu(Box::new(device))),
            Err(error) => tracing::warn!("skipping {}: {error}", adapter.info().name),
        }
    }
    devices
}
