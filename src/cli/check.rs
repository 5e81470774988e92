//! `gradprobe check`: one file or several, each to a report.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Instant,
};

use bytesize::ByteSize;
use clap::{ArgAction, Args};
use indicatif::HumanCount;

use super::{
    inputs::InputArguments,
    memory,
    outputs::{Format, Outputs},
    progress::{Interrupts, Watcher},
    remote::{Remote, RemoteArguments},
    size,
};
use crate::{
    check::{self, Listener, Options, Subject},
    device::Device,
    error::{Error, Result},
    io::{self, Inputs, NumericFile, Source},
    output::Run,
    report::{CheckReport, Report, Verdict},
    settings::{Settings, command_line},
};

#[derive(Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    inputs: InputArguments,

    #[command(flatten)]
    settings: Settings,

    /// Where to compute: auto (a GPU where there is one, else the CPU), cpu, gpu, software (an adapter of type CPU), or an
    /// adapter's index or part of its name
    #[arg(long, default_value = "auto", value_name = "D")]
    device: String,
    /// Exit with 0 where the verdict is inconclusive
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, hide_possible_values = true, hide_default_value = true, value_name = "true|false")]
    pub(super) allow_inconclusive: bool,

    /// Memory that the check may take beside the weights
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = memory)]
    memory: ByteSize,

    #[command(flatten)]
    remote: RemoteArguments,
    /// How many of several files are checked at a time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = size)]
    jobs: usize,
    /// Write the smallest case that still fails alike, a few rows where that is enough, into this folder as .safetensors
    #[arg(long, value_name = "DIR")]
    save_failures: Option<PathBuf>,
    /// Write the report as JSON; - for stdout, in place of the text
    #[arg(long, value_name = "FILE|-")]
    pub(super) json: Option<PathBuf>,
    /// What stdout shows: text, markdown, or github (text and annotations, and the job's summary as Markdown), which is the default where
    /// GITHUB_ACTIONS is set
    #[arg(
        long,
        value_enum,
        value_name = "text|markdown|github",
        hide_possible_values = true
    )]
    pub(super) format: Option<Format>,
    /// Write the report as JUnit XML, a test case for each gradient
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write the report as a page with pictures, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write the numeric gradient, f64 (needs a single --wrt)
    #[arg(long, value_name = "OUT.npy", conflicts_with = "sample")]
    numeric: Option<PathBuf>,
    /// Print nothing but a sentence on what did not pass, and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// The command line, with what gradprobe.toml gave, without the program's name.
    #[arg(skip)]
    words: Vec<OsString>,
}

/// Where several files are checked.
enum Place<'a> {
    Here(Result<Device>),
    There(&'a Remote),
}

/// The exit code of a program that was interrupted: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// Flags, each with a value, that say what is done with what comes of all files.
const OF_ALL: [&str; 7] = [
    "--jobs",
    "--json",
    "--html",
    "--junit",
    "--format",
    "--numeric",
    "--save-failures",
];

impl CheckArguments {
    pub(super) fn run(
        mut self,
        words: Vec<OsString>,
        given: Vec<(String, String)>,
    ) -> Result<ExitCode> {
        self.words = words.into_iter().skip(1).collect();
        let sources = self.inputs.sources()?;
        for source in &sources {
            self.require_distinct(source)?;
        }
        let remote = Remote::new(&self.remote, given, self.html.is_some())?;
        match (sources.as_slice(), remote) {
            ([source], Some(remote)) => self.run_remote(source, &remote),
            ([source], None) => self.run_one(source),
            (sources, remote) => self.run_several(sources, remote.as_ref()),
        }
    }

    fn run_one(&self, source: &Source) -> Result<ExitCode> {
        let started = Instant::now();
        let inputs = self.load(source)?;
        let load = started.elapsed().as_secs_f64();
        let device = self.device()?;
        let outputs = Outputs::open(self)?;
        let numeric = self.numeric_file(&inputs)?;
        let mut watcher = Watcher::new(!self.quiet, numeric, Interrupts::listen());
        let mut report = self.check(&inputs, &device, &mut watcher)?;
        report.command = Some(self.command());
        report.notes.clone_from(&inputs.notes);
        report.seconds.load = load;
        report.seconds.total = started.elapsed().as_secs_f64();
        watcher.finish()?;
        let runs = [self.to_run(source, &inputs, report)?];
        // The report first: it must not be lost where a failure cannot be saved.
        outputs.deliver(&runs)?;
        let [run] = &runs;
        self.save_failures(&inputs, run, &device)?;
        Ok(self.exit_code(&runs))
    }

    /// A file that a service checks.
    fn run_remote(&self, source: &Source, remote: &Remote) -> Result<ExitCode> {
        let outputs = Outputs::open(self)?;
        let interrupts = Interrupts::listen();
        let mut watcher = Watcher::new(!self.quiet, None, interrupts.clone());
        let name = name(source);
        let mut begun = false;
        let mut follow = |done, all| {
            if !std::mem::replace(&mut begun, true) {
                watcher.start(&name, format!("{} entries", HumanCount(all)));
            }
            watcher.progress(done, all);
        };
        let checked = remote.check(&name, &interrupts, &mut follow);
        watcher.finish()?;
        let Some(mut run) = checked? else {
            return Ok(ExitCode::from(INTERRUPTED));
        };
        if let Ok(report) = &mut run.outcome {
            report.command = Some(self.command());
        }
        let runs = [run];
        outputs.deliver(&runs)?;
        Ok(self.exit_code(&runs))
    }

    /// All of them, some at a time, each told as soon as it and those before it are done.
    fn run_several(&self, sources: &[Source], remote: Option<&Remote>) -> Result<ExitCode> {
        if self.numeric.is_some() {
            return Err(Error::Setting {
                name: "--numeric",
                found: "one file".to_owned(),
                expected: format!(
                    "{} files are checked, each with a gradient of its own",
                    sources.len()
                ),
            });
        }
        let outputs = Outputs::open(self)?;
        if remote.is_some() && self.html.is_some() {
            tracing::warn!("the page of several files has no pictures where a service checks them");
        }
        let interrupts = Interrupts::listen();
        let (next, (send, arrived)) = (AtomicUsize::new(0), mpsc::channel());
        let mut runs: Vec<Run> = Vec::new();
        let mut saved = Ok(());
        std::thread::scope(|scope| -> Result<()> {
            for _ in 0..self.jobs.min(sources.len()) {
                let (send, next, interrupts) = (send.clone(), &next, interrupts.clone());
                scope.spawn(move || {
                    // A device serves one thread; what it cannot be opened for is told of each file.
                    let place = match remote {
                        Some(remote) => Place::There(remote),
                        None => Place::Here(self.device()),
                    };
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(source) = sources.get(index) else {
                            return;
                        };
                        if interrupts.is_interrupted() {
                            return;
                        }
                        let run = match &place {
                            Place::Here(device) => {
                                Some(self.run_of(source, device.as_ref(), &interrupts))
                            }
                            Place::There(remote) => remote
                                .check(&name(source), &interrupts, &mut |_, _| {})
                                .unwrap_or_else(|error| Some(Run::failed(name(source), error)))
                                .map(|mut run| {
                                    if let Ok(report) = &mut run.outcome {
                                        report.command = Some(self.command_of(source));
                                    }
                                    (run, Ok(()))
                                }),
                        };
                        let Some(run) = run else { return };
                        if send.send((index, run)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            let mut waiting: BTreeMap<usize, Run> = BTreeMap::new();
            for (index, (run, saving)) in arrived {
                waiting.insert(index, run);
                saved = std::mem::replace(&mut saved, Ok(())).and(saving);
                while let Some(run) = waiting.remove(&runs.len()) {
                    outputs.tell(&run)?;
                    runs.push(run);
                }
            }
            Ok(())
        })?;
        let code = self.exit_code(&runs);
        outputs.deliver(&runs)?;
        saved?;
        if runs.len() < sources.len() {
            Ok(ExitCode::from(INTERRUPTED))
        } else {
            Ok(code)
        }
    }

    /// One of several files, and whether its failures could be saved.
    fn run_of(
        &self,
        source: &Source,
        device: std::result::Result<&Device, &Error>,
        interrupts: &Interrupts,
    ) -> (Run, Result<()>) {
        let started = Instant::now();
        let checked = || -> Result<_> {
            let inputs = self.load(source)?;
            let load = started.elapsed().as_secs_f64();
            let again;
            let device = match device {
                Ok(device) => device,
                // An error cannot be told twice: it is met anew.
                Err(_) => {
                    again = self.device()?;
                    &again
                }
            };
            let mut report = self.check(&inputs, device, &mut interrupts.clone())?;
            report.command = Some(self.command_of(source));
            report.notes.clone_from(&inputs.notes);
            report.seconds.load = load;
            report.seconds.total = started.elapsed().as_secs_f64();
            let run = self.to_run(source, &inputs, report)?;
            let saved = self.save_failures(&inputs, &run, device);
            Ok((run, saved))
        };
        checked().unwrap_or_else(|error| (Run::failed(name(source), error), Ok(())))
    }

    fn load(&self, source: &Source) -> Result<Inputs> {
        let inputs = self.settings.load(source, self.memory.as_u64(), None)?;
        for note in &inputs.notes {
            tracing::warn!("{note}");
        }
        Ok(inputs)
    }

    fn device(&self) -> Result<Device> {
        Device::select_within(&self.device, self.memory.as_u64())
    }

    fn check(
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

    fn options(&self) -> Options {
        self.settings.options(self.html.is_some())
    }

    /// For each gradient that failed a file that shows it, or the whole where no part does, and the command that repeats it.
    fn save_failures(&self, inputs: &Inputs, run: &Run, device: &Device) -> Result<()> {
        let (Some(folder), Some(computed)) = (&self.save_failures, &run.computed) else {
            return Ok(());
        };
        let failed = |check: &&CheckReport| check.verdict() == Verdict::Fail;
        for check in computed.report.checks.iter().filter(failed) {
            let mut subjects = inputs.subjects.iter();
            let Some(subject) = subjects.find(|it| it.wrt == check.wrt && it.gradient.is_some())
            else {
                continue;
            };
            std::fs::create_dir_all(folder).map_err(Error::io("write", folder))?;
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let name = run.name.replace(|c| !is_plain(c), "_");
            let path = folder.join(format!("{name}-{}.safetensors", check.wrt.grad_name()));
            let found = check::smallest(&inputs.problem, subject, check, &self.options(), device)?;
            let rows = match &found {
                Some(found) => {
                    io::save(&path, &found.problem, &found.subject)?;
                    found.problem.n()
                }
                None => {
                    io::save(&path, &inputs.problem, subject)?;
                    inputs.problem.n()
                }
            };
            let command = self.command_of(&Source::File(path));
            let rows = match rows {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            };
            let name = check.wrt.grad_name();
            tracing::warn!("{name} fails alike with {rows}: {command}");
        }
        Ok(())
    }

    /// The worst of all.
    fn exit_code(&self, runs: &[Run]) -> ExitCode {
        let code = |run: &Run| match &run.outcome {
            Ok(report) if report.interrupted => INTERRUPTED,
            Ok(report) => match report.verdict {
                Verdict::Pass => 0,
                Verdict::Inconclusive if self.allow_inconclusive => 0,
                Verdict::Inconclusive | Verdict::Fail => 1,
            },
            Err(_) => 2,
        };
        ExitCode::from(runs.iter().map(code).max().unwrap_or(0))
    }

    /// The command line that repeats all of it.
    fn command(&self) -> String {
        command_line(self.words.iter().map(|word| word.to_string_lossy()))
    }

    /// The command line that repeats the check of one file: without what was to be done with what came of all.
    fn command_of(&self, source: &Source) -> String {
        let mut words = Vec::new();
        let mut arguments = self.words.iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy();
            let (flag, value) = match text.split_once('=') {
                Some((flag, _)) => (flag, true),
                None => (text.as_ref(), false),
            };
            if OF_ALL.contains(&flag) {
                if !value {
                    arguments.next();
                }
            } else if !self.inputs.files.iter().any(|file| file == argument) {
                words.push(argument.clone());
            }
        }
        words.push(OsString::from(name(source)));
        command_line(words.iter().map(|word| word.to_string_lossy()))
    }

    /// What came of a file, with what a page needs if one was asked for.
    fn to_run(&self, source: &Source, inputs: &Inputs, report: Report) -> Result<Run> {
        let sweeps = match self.html {
            Some(_) => self.settings.sweeps(inputs, &report)?,
            None => Vec::new(),
        };
        Ok(Run::new(name(source), report, sweeps))
    }

    /// # Errors
    /// [`Error::Setting`] if a result would take the place of an input or of another result.
    fn require_distinct(&self, source: &Source) -> Result<()> {
        let whole = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let mut taken: Vec<PathBuf> = match source {
            Source::File(file) | Source::Bytes(file, _) => vec![whole(file)],
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

    fn numeric_file(&self, inputs: &Inputs) -> Result<Option<NumericFile>> {
        let Some(path) = &self.numeric else {
            return Ok(None);
        };
        match inputs.subjects.as_slice() {
            [Subject { wrt, .. }] => {
                let mut shape = inputs.problem.gradient_shape(*wrt);
                if let Some(rows) = &self.settings.rows {
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

/// What was checked, in a word.
fn name(source: &Source) -> String {
    let path = match source {
        Source::File(path) | Source::Bytes(path, _) => Some(path),
        Source::Separate(files) => files.values().next(),
    };
    path.map_or_else(String::new, |path| path.display().to_string())
}
