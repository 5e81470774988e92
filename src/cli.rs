//! Arguments in, report out, exit code back: 0 pass, 1 fail or inconclusive, 2 could not run. It computes
//! nothing of its own.

use std::{
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    check::{self, Compare, Options, Sample, Subject},
    demo,
    engine::{self, Device},
    error::{Error, Result},
    io::{self, Case, NumericFile, OutputFile, Request, Source},
    loss::Reduction,
    output,
    problem::Wrt,
    report::{CheckReport, Report, Verdict},
    scheme::{Method, Precision, Scheme},
    sweep::{self, Sweep},
};

mod outputs;
mod progress;

use outputs::{Format, Outputs};
use progress::Watcher;

/// Checks a gradient entry by entry against a finite difference that cannot cancel.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the gradients in a file (exit code 0 pass, 1 fail or inconclusive, 2 could not run, 130 interrupted)
    Check(Box<CheckArguments>),
    /// Show the error at every step size from 1 down to 1e-8, by both methods
    Sweep(Box<SweepArguments>),
    /// Explain, on ten samples, why a numeric gradient check can be 90 % off at every step size
    Demo,
    /// List the devices that can do the arithmetic, and probe each
    Devices,
    /// Time the same check on every device, and hold the results against each other
    Bench(BenchArguments),
}

/// What is checked: shared by the commands that read a problem.
#[derive(Args)]
struct InputArguments {
    /// A .safetensors or .npz file with input [n,d], weight [k,d], target ([n] classes or [n,k] probabilities), and optionally
    /// bias [k], class_weight [k], and the gradients: grad [n,d] (of the input), grad_logits [n,k], grad_weight [k,d], grad_bias [k]
    #[arg(required_unless_present = "input", conflicts_with_all = ["input", "weight", "bias", "target", "class_weight", "grad", "grad_logits", "grad_weight", "grad_bias"])]
    file: Option<PathBuf>,
    /// The input [n,d] as an .npy file
    #[arg(long, value_name = "F", requires_all = ["weight", "target"], help_heading = "Single .npy files")]
    input: Option<PathBuf>,
    /// The weight [k,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    weight: Option<PathBuf>,
    /// The bias [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    bias: Option<PathBuf>,
    /// The target, [n] classes or [n,k] probabilities, as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    target: Option<PathBuf>,
    /// The class weights [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    class_weight: Option<PathBuf>,
    /// The gradient of the input [n,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad: Option<PathBuf>,
    /// The gradient of the logits [n,k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_logits: Option<PathBuf>,
    /// The gradient of the weight [k,d] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_weight: Option<PathBuf>,
    /// The gradient of the bias [k] as an .npy file
    #[arg(
        long,
        value_name = "F",
        requires = "input",
        help_heading = "Single .npy files"
    )]
    grad_bias: Option<PathBuf>,

    /// Which gradients to check [default: those in the file; the built-in backward pass's where there is none]
    #[arg(long, value_enum, value_delimiter = ',')]
    wrt: Vec<Wrt>,
    /// How the samples' losses become one number [default: the file's, or mean]
    #[arg(long, value_enum)]
    reduction: Option<Reduction>,
    /// The target that marks samples which count for nothing [default: the file's, or -100]
    #[arg(long, value_name = "I", allow_negative_numbers = true)]
    ignore_index: Option<i64>,
    /// The share of the target that is spread over all classes [default: the file's, or 0]
    #[arg(long, value_name = "S")]
    label_smoothing: Option<f64>,
}

#[derive(Args)]
struct CheckArguments {
    #[command(flatten)]
    inputs: InputArguments,

    /// The step: auto, or a number
    #[arg(long, default_value = "auto", value_parser = eps)]
    eps: Eps,
    /// How the losses at the perturbed points are computed
    #[arg(long, value_enum, default_value_t)]
    method: Method,
    /// Where the losses are taken: central (2 an entry), forward (1), or five-point (4)
    #[arg(long, default_value = "central", value_parser = scheme)]
    scheme: Scheme,
    /// Where to compute: auto (a GPU where there is one, else the CPU), cpu, gpu, software (an adapter of type CPU), or an
    /// adapter's index or part of its name
    #[arg(long, default_value = "auto", value_name = "D")]
    device: String,
    /// The arithmetic of the losses; auto is f64 for an f64 gradient (on the CPU where the device has none) and on the CPU, else f32
    #[arg(long, value_parser = precision, value_name = "auto|f32|f64", default_value = "auto")]
    precision: Auto<Precision>,
    /// Where errors are found: host (derivatives are read back), device (sums are, and the rows that the host is to look at again), or auto
    /// (on a GPU where a gradient has more than 4 million entries)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "auto|host|device",
        hide_possible_values = true
    )]
    compare: Compare,
    /// Relative tolerance, in place of what rounding to the gradient's type explains
    #[arg(long)]
    rtol: Option<f64>,
    /// Absolute tolerance, likewise
    #[arg(long)]
    atol: Option<f64>,
    /// Exit with 0 where the verdict is inconclusive
    #[arg(long)]
    allow_inconclusive: bool,

    /// Check the rows from A to before B only
    #[arg(long, value_name = "A..B", value_parser = rows)]
    rows: Option<Range<usize>>,
    /// Check so many rows only, drawn at random
    #[arg(long, value_name = "N", conflicts_with = "numeric")]
    sample: Option<usize>,
    /// What the random numbers of --sample begin with
    #[arg(long, default_value_t = 0, value_name = "S", requires = "sample")]
    seed: u64,
    /// Memory that the check may take beside the weights
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = memory)]
    memory: ByteSize,

    /// Write the report as JSON; - for stdout, in place of the text
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// What stdout shows: text, markdown, or github (text and annotations, and the job's summary as Markdown), which is the default where
    /// GITHUB_ACTIONS is set
    #[arg(
        long,
        value_enum,
        value_name = "text|markdown|github",
        hide_possible_values = true
    )]
    format: Option<Format>,
    /// Write the report as JUnit XML, a test case for each gradient
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as a page with pictures, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the numeric gradient, f64 (needs a single --wrt)
    #[arg(long, value_name = "OUT.npy")]
    numeric: Option<PathBuf>,
}

#[derive(Args)]
struct SweepArguments {
    #[command(flatten)]
    inputs: InputArguments,

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

/// A value, or the program's own choice.
#[derive(Clone, Copy)]
enum Auto<T> {
    Auto,
    Given(T),
}

type Eps = Auto<f64>;

impl<T> Auto<T> {
    fn given(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Given(value) => Some(value),
        }
    }
}

fn eps(text: &str) -> std::result::Result<Eps, String> {
    match text {
        "auto" => Ok(Auto::Auto),
        text => text
            .parse()
            .map(Auto::Given)
            .map_err(|_| "expected auto or a number, such as 1e-3".to_owned()),
    }
}

fn rows(text: &str) -> std::result::Result<Range<usize>, String> {
    let (first, end) = text.split_once("..").unwrap_or_default();
    match (first.parse(), end.parse()) {
        (Ok(first), Ok(end)) => Ok(first..end),
        _ => Err("expected two numbers, such as 1000..2000".to_owned()),
    }
}

/// Less holds no chunk of a problem of ordinary size.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

fn memory(text: &str) -> std::result::Result<ByteSize, String> {
    match text.parse() {
        Ok(size) if size >= LEAST_MEMORY => Ok(size),
        Ok(_) => Err(format!("at least {LEAST_MEMORY} are needed")),
        Err(_) => Err("expected a size, such as 1GiB or 500MB".to_owned()),
    }
}

fn scheme(text: &str) -> std::result::Result<Scheme, String> {
    let named = Scheme::ALL.into_iter().find(|scheme| scheme.name == text);
    named.ok_or_else(|| "expected central, forward or five-point".to_owned())
}

fn precision(text: &str) -> std::result::Result<Auto<Precision>, String> {
    match text {
        "auto" => Ok(Auto::Auto),
        "f32" => Ok(Auto::Given(Precision::F32)),
        "f64" => Ok(Auto::Given(Precision::F64)),
        _ => Err("expected auto, f32 or f64".to_owned()),
    }
}

/// Runs the program on the process's arguments.
///
/// # Errors
/// Whatever keeps it from running; the caller prints it and exits with 2.
pub fn run() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Check(arguments) => arguments.run(),
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
    }
}

impl InputArguments {
    fn request(&self, memory: Option<ByteSize>) -> Request {
        Request {
            memory: memory.map(|size| size.as_u64() as usize),
            rows: None,
            wrt: self.wrt.clone(),
            reduction: self.reduction,
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
        }
    }

    fn source(&self) -> Source {
        if let Some(file) = &self.file {
            return Source::File(file.clone());
        }
        let files = [
            ("input", &self.input),
            ("weight", &self.weight),
            ("bias", &self.bias),
            ("target", &self.target),
            ("class_weight", &self.class_weight),
            ("grad", &self.grad),
            ("grad_logits", &self.grad_logits),
            ("grad_weight", &self.grad_weight),
            ("grad_bias", &self.grad_bias),
        ];
        Source::Separate(
            files
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.clone()?)))
                .collect(),
        )
    }
}

impl SweepArguments {
    fn run(self) -> Result<ExitCode> {
        let case = io::load(&self.inputs.source(), &self.inputs.request(None))?;
        let device = Device::select(&self.device)?;
        let device = device
            .fallback(self.precision, Method::Difference, &[])
            .unwrap_or(device);
        // Parameters have no rows to sweep; what was asked for by name is refused by name.
        let given = !self.inputs.wrt.is_empty();
        for subject in case
            .subjects
            .iter()
            .filter(|subject| given || !subject.wrt.is_parameter())
        {
            let range = (self.eps_from, self.eps_to);
            print(&output::sweep::render(&sweep::sweep(
                &case.problem,
                subject,
                self.precision,
                range,
                sweep::SECOND,
                &device,
            )?))?;
        }
        Ok(ExitCode::SUCCESS)
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
                Err(error) => note(&format!("{} is left out: {error}", adapter.info().name)),
            }
        }
        devices
    }
}

impl CheckArguments {
    fn run(self) -> Result<ExitCode> {
        let started = Instant::now();
        let options = Options {
            method: self.method,
            scheme: self.scheme,
            eps: self.eps.given(),
            precision: self.precision.given(),
            rtol: self.rtol,
            atol: self.atol,
            rows: self.rows.clone(),
            sample: self.sample.map(|rows| Sample {
                rows,
                seed: self.seed,
            }),
            compare: self.compare,
            draws: self.html.is_some(),
        };
        let source = self.inputs.source();
        self.require_distinct(&source)?;
        let mut request = self.inputs.request(Some(self.memory));
        request.rows = match self.sample {
            Some(_) => Some(0..0),
            None => self.rows.clone(),
        };
        let mut case = io::load(&source, &request)?;
        self.leave_out_sums(&mut case)?;
        let load = started.elapsed().as_secs_f64();
        let mut device = Device::select(&self.device)?;
        device.limit_memory(self.memory.as_u64() / 2);

        let outputs = Outputs::open(&self, &source)?;
        let mut watcher = Watcher::new(self.numeric_file(&case)?);
        watcher.listen_for_interrupts();
        let mut report = check::check(
            &case.problem,
            &case.subjects,
            &options,
            &device,
            &mut watcher,
        )?;
        report.command = Some(command_line());
        report.seconds.load = load;
        report.seconds.total = started.elapsed().as_secs_f64();
        watcher.finish(report.interrupted)?;

        outputs.deliver(&report, || self.sweeps(&case, &report))?;
        if report.interrupted {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(match report.verdict() {
            Verdict::Pass => ExitCode::SUCCESS,
            Verdict::Inconclusive if self.allow_inconclusive => ExitCode::SUCCESS,
            Verdict::Inconclusive | Verdict::Fail => ExitCode::from(1),
        })
    }

    /// For each check the errors at every step size, for the page's pictures; none where a part of the rows was asked for.
    fn sweeps(&self, case: &Case, report: &Report) -> Result<Vec<Option<Sweep>>> {
        let is_part = self.rows.is_some() || self.sample.is_some() || report.interrupted;
        let of_check = |check: &CheckReport| {
            let subject = case
                .subjects
                .iter()
                .find(|subject| subject.wrt == check.wrt);
            match subject.filter(|_| !is_part) {
                Some(subject) => sweep::glance(&case.problem, subject),
                None => Ok(None),
            }
        };
        report.checks.iter().map(of_check).collect()
    }

    /// Gradients that sum over all samples cannot be checked on some of them: they are left out, unless they were asked for.
    fn leave_out_sums(&self, case: &mut Case) -> Result<()> {
        let flag = match (&self.rows, self.sample) {
            (Some(_), _) => "--rows",
            (None, Some(_)) => "--sample",
            (None, None) => return Ok(()),
        };
        let is_sum = |subject: &Subject| subject.wrt.is_parameter();
        if !self.inputs.wrt.is_empty() || case.subjects.iter().all(is_sum) {
            return Ok(());
        }
        for sum in case.subjects.iter().filter(|subject| is_sum(subject)) {
            let name = sum.wrt.grad_name();
            note(&format!(
                "{name} is not checked: it is a sum over all samples, and {flag} takes some of them"
            ));
        }
        case.subjects.retain(|subject| !is_sum(subject));
        Ok(())
    }

    /// # Errors
    /// [`Error::Setting`] if a result would take the place of an input or of another result.
    fn require_distinct(&self, source: &Source) -> Result<()> {
        let whole = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let mut taken: Vec<PathBuf> = match source {
            Source::File(file) => vec![whole(file)],
            Source::Separate(files) => files.values().map(whole).collect(),
        };
        let outputs = [
            ("--json", &self.json),
            ("--html", &self.html),
            ("--junit", &self.junit),
            ("--numeric", &self.numeric),
        ];
        for (name, path) in outputs {
            let Some(path) = path
                .as_ref()
                .filter(|path| path.is_file() || !path.exists())
            else {
                continue;
            };
            if taken.contains(&whole(path)) {
                let expected = "that file is read, or written, already".to_owned();
                return Err(Error::Setting {
                    name,
                    found: path.display().to_string(),
                    expected,
                });
            }
            taken.push(whole(path));
        }
        Ok(())
    }

    fn numeric_file(&self, case: &Case) -> Result<Option<NumericFile>> {
        let Some(path) = &self.numeric else {
            return Ok(None);
        };
        match case.subjects.as_slice() {
            [Subject { wrt, .. }] => {
                let mut shape = case.problem.gradient_shape(*wrt);
                if let Some(rows) = &self.rows {
                    shape[0] = rows.len();
                }
                NumericFile::create(path, &shape).map(Some)
            }
            subjects => Err(Error::Setting {
                name: "--numeric",
                found: "one file".to_owned(),
                expected: format!(
                    "{} gradients are checked, each with its own: choose one with --wrt",
                    subjects.len()
                ),
            }),
        }
    }
}

/// The arguments of this process as a shell takes them.
fn command_line() -> String {
    let quoted = |argument: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        match !argument.is_empty() && argument.chars().all(is_plain) {
            true => argument,
            false => format!("'{}'", argument.replace('\'', "'\\''")),
        }
    };
    let arguments = std::env::args_os().skip(1);
    let words = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    std::iter::once("gradprobe".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn devices() -> String {
    let cpu = engine::cpu_info();
    let mut text = format!(
        "0  {} (cpu)\n   {}; {}; f64\n",
        cpu.name, cpu.backend, cpu.driver
    );
    for (index, adapter) in crate::gpu::adapters().iter().enumerate() {
        let info = adapter.info();
        let probe = match adapter.open() {
            Ok(_) => "self-probe passed".to_owned(),
            Err(error) => format!("self-probe failed: {error}"),
        };
        text += &format!(
            "{}  {} ({})\n   {}; {}; f32; {}\n   {probe}\n",
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

/// The exit code of a program that was interrupted: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// Says something on stderr that is no error.
fn note(text: &str) {
    // Who has closed stderr does not want to know.
    let _ = writeln!(std::io::stderr(), "note: {text}");
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
