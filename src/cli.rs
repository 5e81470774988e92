//! Arguments in, report out, exit code back: 0 pass, 1 fail or inconclusive, 2 could not run. It computes
//! nothing of its own.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use bytesize::ByteSize;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::{
    bench, budget, demo,
    device::{self, Device},
    error::{Error, Result},
    io::{self, Inputs, OutputFile},
    output,
    scheme::{Method, Precision},
    settings::LossSettings,
    sweep,
};

mod check;
mod config;
mod inputs;
mod log;
mod outputs;
mod progress;
#[cfg(feature = "remote")]
mod remote;
#[cfg(not(feature = "remote"))]
#[path = "cli/remote/absent.rs"]
mod remote;
#[cfg(feature = "serve")]
mod serve;
#[cfg(any(feature = "serve", feature = "remote"))]
mod token;

use check::CheckArguments;
use config::Completed;
use inputs::InputArguments;
#[cfg(feature = "serve")]
use serve::ServeArguments;

/// Checks a gradient entry by entry against a finite difference that cannot cancel.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say on stderr what is being done; twice, each part of it
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Check the gradients in files (exit code 0 pass, 1 fail or inconclusive, 2 could not run, 130 interrupted)
    Check(Box<CheckArguments>),
    /// Show the error at every step size from 1 down to 1e-8, by both methods
    Sweep(Box<SweepArguments>),
    /// Explain, on ten samples, why a numeric gradient check can be 90 % off at every step size
    Demo,
    /// List the devices that can do the arithmetic, and probe each
    Devices,
    /// Time the same check on every device, and hold the results against each other
    Bench(BenchArguments),
    /// Check what is sent over HTTP: a service with a queue that loses nothing, and a page at /
    #[cfg(feature = "serve")]
    Serve(Box<ServeArguments>),
    /// Print what a shell needs to complete gradprobe's arguments
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
    /// Print the manual page, as roff
    Man,
}

#[derive(Args)]
struct SweepArguments {
    #[command(flatten)]
    inputs: InputArguments,
    #[command(flatten)]
    loss: LossSettings,

    /// The largest step
    #[arg(long, default_value_t = 1.0, value_name = "E")]
    eps_from: f64,
    /// The smallest step
    #[arg(long, default_value_t = 1e-8, value_name = "E")]
    eps_to: f64,
    /// The arithmetic of the losses
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Where to compute, as for check
    #[arg(long, default_value = "auto", value_name = "D")]
    device: String,
}

#[derive(Args)]
struct BenchArguments {
    /// Samples
    #[arg(short, default_value_t = 16_384, value_parser = size)]
    n: usize,
    /// Features
    #[arg(short, default_value_t = 784, value_parser = size)]
    d: usize,
    /// Classes
    #[arg(short, default_value_t = 10, value_parser = size)]
    k: usize,
    /// How often each check is timed; the best counts
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = size)]
    repeat: usize,
    /// One device only, as for check
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Write the timings as JSON; - for stdout, in place of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

fn size(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(size) if size > 0 => Ok(size),
        _ => Err("expected a number of at least 1".to_owned()),
    }
}

/// Less holds no chunk of a problem of ordinary size.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

fn memory(text: &str) -> std::result::Result<ByteSize, String> {
    match bytes(text)? {
        size if size >= LEAST_MEMORY => Ok(size),
        _ => Err(format!("at least {LEAST_MEMORY} are needed")),
    }
}

fn bytes(text: &str) -> std::result::Result<ByteSize, String> {
    text.parse()
        .map_err(|_| "expected a size, such as 1GiB or 500MB".to_owned())
}

/// Runs the program on the process's arguments.
///
/// # Errors
/// Whatever keeps it from running; the caller prints it and exits with 2.
pub fn run() -> Result<ExitCode> {
    let Completed {
        arguments,
        words,
        settings,
        from_file,
    } = config::arguments(std::env::args_os().collect())?;
    let quiet = matches!(&arguments.command, Command::Check(check) if check.quiet);
    log::listen(arguments.verbose, quiet);
    if let Some(said) = from_file {
        tracing::info!("{said}");
    }
    match arguments.command {
        Command::Check(arguments) => arguments.run(words, settings),
        Command::Sweep(arguments) => arguments.run(),
        Command::Demo => {
            print(&demo::run()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Devices => {
            print(&devices())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(arguments) => arguments.run(),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => arguments.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "gradprobe", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            print(&manual())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl SweepArguments {
    fn run(self) -> Result<ExitCode> {
        let device = Device::select(&self.device)?;
        let device = device
            .fallback(self.precision, Method::Difference, &[])
            .unwrap_or(device);
        for source in self.inputs.sources()? {
            self.sweep(&io::load(&source, &self.loss.request(None))?, &device)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn sweep(&self, inputs: &Inputs, device: &Device) -> Result<()> {
        // Parameters have no rows to sweep; what was asked for by name is refused by name.
        let given = !self.loss.wrt.is_empty();
        for subject in inputs
            .subjects
            .iter()
            .filter(|subject| given || !subject.wrt.is_parameter())
        {
            let range = (self.eps_from, self.eps_to);
            print(&output::sweep::render(&sweep::sweep(
                &inputs.problem,
                subject,
                self.precision,
                range,
                budget::SWEEP_WORK,
                device,
            )?))?;
        }
        Ok(())
    }
}

/// Where `--json` goes.
enum JsonOutput {
    None,
    /// In place of the text.
    Stdout,
    File(OutputFile),
}

impl JsonOutput {
    /// Makes sure that it can be written, before there is anything to write.
    fn open(path: Option<&Path>) -> Result<Self> {
        Ok(match path {
            None => Self::None,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(OutputFile::create(path)?),
        })
    }

    /// Writes what was asked for.
    fn deliver(self, json: impl FnOnce() -> String, text: impl FnOnce() -> String) -> Result<()> {
        match self {
            Self::Stdout => return print(&json()),
            Self::None => {}
            Self::File(mut file) => {
                file.write(json().as_bytes())?;
                file.finish()?;
            }
        }
        print(&text())
    }
}

impl BenchArguments {
    fn run(self) -> Result<ExitCode> {
        let devices = match &self.device {
            Some(device) => vec![Device::select(device)?],
            None => Self::every_device(),
        };
        let json_output = JsonOutput::open(self.json.as_deref())?;
        let (n, d, k) = (self.n, self.d, self.k);
        let bench = bench::bench(bench::Sizes { n, d, k }, self.repeat, &devices)?;
        let text = || output::bench::render(&bench);
        json_output.deliver(|| output::bench::json(&bench), text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The CPU engine, and every adapter that can be used.
    fn every_device() -> Vec<Device> {
        let mut devices = vec![Device::Cpu { note: None }];
        for adapter in crate::gpu::adapters() {
            match adapter.open() {
                Ok(device) => devices.push(Device::Gpu(Box::new(device))),
                Err(error) => tracing::warn!("{} is left out: {error}", adapter.info().name),
            }
        }
        devices
    }
}

/// A page for the program and, behind it, for each of its commands.
fn manual() -> String {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    let commands = command
        .get_subcommands()
        .filter(|it| it.get_name() != "help");
    for command in std::iter::once(&command).chain(commands) {
        let page = clap_mangen::Man::new(command.clone());
        page.render(&mut pages).expect("a vector takes everything");
    }
    String::from_utf8_lossy(&pages).into_owned()
}

fn devices() -> String {
    let cpu = device::cpu_info();
    let mut text = format!(
        "0  {} (cpu)\n   {}; {}; f64\n",
        cpu.name, cpu.backend, cpu.driver
    );
    for (index, adapter) in crate::gpu::adapters().iter().enumerate() {
        let info = adapter.info();
        let (arithmetic, probe) = match adapter.open() {
            Ok(device) if device.has_f64() => ("f32 and f64", "self-probe passed".to_owned()),
            Ok(_) => ("f32", "self-probe passed".to_owned()),
            Err(error) => ("f32", format!("self-probe failed: {error}")),
        };
        text += &format!(
            "{}  {} ({})\n   {}; {}; {arithmetic}; {}\n   {probe}\n",
            index + 1,
            info.name,
            info.kind,
            info.backend,
            info.driver,
            adapter.limits_text(),
        );
    }
    text
}

/// Whether what is written there may have escape sequences: on a terminal, unless NO_COLOR is set.
fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Writes to stdout; a reader that has gone away is no error.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Io {
            action: "write",
            path: PathBuf::from("stdout"),
            source,
        }),
        _ => Ok(()),
    }
}
