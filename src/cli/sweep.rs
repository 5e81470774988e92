//! `gradprobe sweep`: the error of the finite difference at every step.

use clap::Args;

use super::{SUCCESS, inputs::InputArguments, stdout::print};
use crate::{
    device::Device,
    error::Result,
    io::{self, Inputs},
    output,
    scheme::{Method, Precision},
    settings::{LossSettings, number},
    sweep,
};

#[derive(Args)]
pub(super) struct SweepArguments {
    #[command(flatten)]
    loss: LossSettings,

    /// Largest step
    #[arg(
        long,
        help_heading = "Finite difference",
        default_value = "1",
        value_name = "E",
        value_parser = number
    )]
    eps_from: f64,
    /// Smallest step
    #[arg(
        long,
        help_heading = "Finite difference",
        default_value = "1e-8",
        value_name = "E",
        value_parser = number
    )]
    eps_to: f64,
    /// Precision of the losses
    #[arg(
        long,
        help_heading = "Finite difference",
        value_enum,
        value_name = "f32|f64",
        hide_possible_values = true,
        default_value_t = Precision::F32
    )]
    precision: Precision,
    /// Device that computes, as for gradprobe check
    #[arg(
        long,
        help_heading = "Device",
        default_value = "auto",
        value_name = "D"
    )]
    device: String,

    #[command(flatten)]
    inputs: InputArguments,
}

impl SweepArguments {
    pub(super) fn run(self) -> Result<u8> {
        let device = Device::select(&self.device)?;
        let device = device
            .fallback(self.precision, Method::Difference, &[])
            .unwrap_or(device);
        for source in self.inputs.sources()? {
            self.sweep(&io::load(&source, &self.loss.request(None))?, &device)?;
        }
        Ok(SUCCESS)
    }

    fn sweep(&self, inputs: &Inputs, device: &Device) -> Result<()> {
        let (problem, work) = (&inputs.problem, sweep::WORK);
        for (index, subject) in inputs.subjects.iter().enumerate() {
            if let Some(reason) =
                sweep::reason_to_skip(problem, subject.wrt, !self.loss.wrt.is_empty())
            {
                tracing::warn!("{reason}");
                continue;
            }
            let range = (self.eps_from, self.eps_to);
            let sweep = sweep::sweep(problem, subject, self.precision, range, work, device)?;
            let between = if index > 0 { "\n" } else { "" };
            print(&(between.to_owned() + &output::sweep::render(&sweep)))?;
        }
        Ok(())
    }
}
