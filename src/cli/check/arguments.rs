//! The flags of `gradprobe check`.

use std::{path::PathBuf, time::SystemTime};

use bytesize::ByteSize;
use clap::Args;

use super::part::PartArguments;
use crate::{
    check::{self, Listener, Options},
    cli::{
        inputs::InputArguments,
        outputs::OutputArguments,
        remote::RemoteArguments,
        values::{count, memory},
    },
    device::Device,
    error::{Error, Result},
    io::{self, Inputs, NetworkFile, NumericFile, Source},
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

    /// Model of a network: a chain, or a .json file
    ///
    /// A chain names the layers and the loss by PyTorch's functions, each with the name whose
    /// parameters it takes: 'linear:fc1 relu linear:fc2 cross_entropy'. A file may hold its model
    /// itself. docs/networks.md has all layers.
    #[arg(long, help_heading = "Network", value_name = "MODEL")]
    model: Option<String>,

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

    /// Reads a problem and its gradients, and prints the notes on them.
    ///
    /// # Errors
    /// Those of [`Settings::load`].
    pub(super) fn load(&self, source: &Source) -> Result<Inputs> {
        let inputs = self.settings.load(source, self.memory.as_u64(), None)?;
        for note in &inputs.notes {
            tracing::warn!("{note}");
        }
        Ok(inputs)
    }

    /// Opens the file of a source, for all that read it.
    ///
    /// # Errors
    /// Those of [`Source::opened`].
    pub(super) fn open(&self, source: &Source) -> Result<Source> {
        source.opened(Some(self.memory.as_u64() as usize))
    }

    /// Reads a network, if the file holds one or `--model` describes it.
    ///
    /// # Errors
    /// Those of [`io::load_network`], and [`Error::Usage`] for flags that need one linear layer.
    pub(super) fn network(&self, source: &Source) -> Result<Option<NetworkFile>> {
        let computed_in = self.settings.loss.computed_in;
        let memory = self.memory.as_u64() as usize;
        let network = io::load_network(source, self.model.as_deref(), computed_in, memory)?;
        if network.is_some() && (self.numeric.is_some() || self.save_failures.is_some()) {
            let message = "--numeric and --save-failures do not take a network yet";
            return Err(Error::Usage(message.to_owned()));
        }
        Ok(network)
    }

    /// Checks a network.
    pub(super) fn check_network(&self, file: &NetworkFile, listener: &mut dyn Listener) -> Report {
        let NetworkFile {
            network,
            model,
            dtype,
        } = file;
        check::network(network, model, *dtype, &self.options(), listener)
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

    /// # Errors
    /// Those of [`check::check`].
    pub(super) fn check(
        &self,
        inputs: &Inputs,
        device: &Device,
        listener: &mut dyn Listener,
    ) -> Result<Report> {
        let options = self.options();
        check::check(
            &inputs.problem,
            &inputs.subjects,
            &options,
            device,
            listener,
        )
    }

    /// Returns a report with the data that an HTML page needs, if one is to be written.
    ///
    /// # Errors
    /// Those of [`Settings::sweeps`].
    pub(super) fn to_run(&self, source: &Source, inputs: &Inputs, report: Report) -> Result<Run> {
        let sweeps = if self.output.html.is_some() {
            self.settings.sweeps(inputs, &report)?
        } else {
            Vec::new()
        };
        Ok(Run::new(name(source), report, sweeps).at(SystemTime::now()))
    }

    /// Opens the file of `--numeric`.
    ///
    /// # Errors
    /// [`Error::Usage`] if several gradients are checked, [`Error::Io`] if it cannot be written.
    pub(super) fn numeric_file(&self, inputs: &Inputs) -> Result<Option<NumericFile>> {
        let Some(path) = &self.numeric else {
            return Ok(None);
        };
        let [subject] = inputs.subjects.as_slice() else {
            return Err(Error::Usage(format!(
                "--numeric takes one gradient, but {} are checked; choose one with --wrt",
                inputs.subjects.len()
            )));
        };
        let problem = &inputs.problem;
        let mut shape = problem.gradient_shape(subject.wrt);
        let file = match (&self.settings.rows, problem.layout(subject.wrt)) {
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
