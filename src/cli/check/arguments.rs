//! The flags of `gradprobe check`.

use std::{path::PathBuf, time::SystemTime};

use bytesize::ByteSize;
use clap::Args;

use super::part::PartArguments;
use crate::{
    case::Case,
    check::Options,
    cli::{
        inputs::InputArguments,
        outputs::OutputArguments,
        remote::RemoteArguments,
        values::{count, memory},
    },
    device::Device,
    error::{Error, Result},
    io::{NumericFile, Source},
    output::Run,
    report::Report,
    settings::Settings,
};

#[derive(Args)]
pub(in crate::cli) struct CheckArguments {
    #[command(flatten)]
    pub(super) settings: Settings,

    /// auto, cpu, gpu, software, or a device's name or index
    ///
    /// auto is a GPU if there is one, else the CPU. software is an adapter that runs shaders on the
    /// CPU. A part of a device's name, or its index, also selects it; gradprobe devices lists both.
    #[arg(
        long,
        help_heading = "Device",
        default_value = "auto",
        value_name = "D"
    )]
    pub(super) device: String,
    /// Memory for arrays, apart from the weights
    ///
    /// A file may be larger: it is read in parts.
    #[arg(
        long,
        help_heading = "Device",
        default_value = "1GiB",
        value_name = "SIZE",
        value_parser = memory
    )]
    memory: ByteSize,
    /// Number of files to check at the same time
    #[arg(
        long,
        help_heading = "Device",
        default_value_t = 1,
        value_name = "N",
        value_parser = count
    )]
    pub(super) jobs: usize,

    #[command(flatten)]
    pub(super) output: OutputArguments,
    /// Write the numeric gradient in f64, of one gradient
    ///
    /// If the file has several gradients, choose one with --wrt.
    #[arg(
        long,
        help_heading = "Output",
        value_name = "FILE.npy",
        conflicts_with = "sample"
    )]
    pub(super) numeric: Option<PathBuf>,
    /// Save a minimal failing example of each wrong gradient here
    ///
    /// The example is a .safetensors file with the fewest rows that show the same first cause,
    /// often one row. If no part of the rows shows it, the example has all rows.
    #[arg(long, help_heading = "Output", value_name = "DIR")]
    pub(super) save_failures: Option<PathBuf>,

    #[command(flatten)]
    pub(super) parts: PartArguments,

    #[command(flatten)]
    pub(super) remote: RemoteArguments,

    #[command(flatten)]
    pub(super) inputs: InputArguments,
}

impl CheckArguments {
    /// Returns true if only failures are to be printed.
    pub(in crate::cli) fn is_quiet(&self) -> bool {
        self.output.quiet
    }

    /// Reads a case, and prints the notes on it.
    ///
    /// # Errors
    /// Those of [`Settings::load`].
    pub(super) fn load(&self, source: &Source) -> Result<Case> {
        let case = self.settings.load(source, self.memory.as_u64(), None)?;
        for note in case.layer().map_or(&[][..], |inputs| &inputs.notes) {
            tracing::warn!("{note}");
        }
        Ok(case)
    }

    /// Returns the memory for arrays, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory.as_u64()
    }

    /// # Errors
    /// Those of [`Device::select`].
    pub(super) fn device(&self) -> Result<Device> {
        Device::select_within(&self.device, self.memory.as_u64())
    }

    pub(super) fn options(&self) -> Options {
        self.settings.options(self.output.html.is_some())
    }

    /// Returns a report with the data that an HTML page needs, if one is to be written. Prints the
    /// notes that reading the case did not.
    ///
    /// # Errors
    /// Those of [`Case::sweeps`].
    pub(super) fn to_run(&self, source: &Source, case: &Case, report: Report) -> Result<Run> {
        let is_network = case.layer().is_none();
        for note in report.notes.iter().filter(|_| is_network) {
            tracing::warn!("{note}");
        }
        let sweeps = if self.output.html.is_some() {
            case.sweeps(&self.options(), &report)?
        } else {
            Vec::new()
        };
        Ok(Run::new(name(source), report, sweeps).at(SystemTime::now()))
    }

    /// Opens the file of `--numeric`.
    ///
    /// # Errors
    /// [`Error::Usage`] if several gradients are checked, [`Error::Io`] if it cannot be written.
    pub(super) fn numeric_file(&self, case: &Case) -> Result<Option<NumericFile>> {
        let Some(path) = &self.numeric else {
            return Ok(None);
        };
        let gradients = case.gradients();
        let [gradient] = gradients.as_slice() else {
            return Err(Error::Usage(format!(
                "--numeric takes one gradient, but {} are checked; choose one with --wrt",
                gradients.len()
            )));
        };
        let mut shape = gradient.shape.clone();
        let file = match (&self.settings.rows, gradient.layout) {
            (None, Some(layout)) => NumericFile::in_layout(path, layout),
            (None, None) => NumericFile::create(path, &shape),
            // Some rows do not fill the axes of a larger array.
            (Some(rows), _) => {
                shape[0] = rows.len();
                NumericFile::create(path, &shape)
            }
        };
        file.map(Some)
    }
}

/// Returns the name of a source in reports: its path, or that of the first .npy file.
pub(super) fn name(source: &Source) -> String {
    let path = match source {
        Source::File(path) | Source::Bytes(path, _) => Some(path),
        Source::Separate(files) => files.values().next(),
        Source::Shared(source, _) => return name(source),
        Source::Tensors(_) => None,
    };
    path.map_or_else(String::new, |path| path.display().to_string())
}
