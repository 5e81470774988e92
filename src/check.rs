//! Problem, scheme and engine in; numeric gradient, errors and verdict out, chunk by chunk.

use std::{borrow::Cow, ops::Range};

use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::{
    device::Device,
    diagnose::{diagnose, relate},
    engine::Engine,
    error::{Error, Result},
    plan::{Evaluation, Plan, RoundingModel, RowSource},
    problem::{Problem, Wrt},
    report::{
        CheckReport, ComparedOn, Coverage, Decision, DeviceKind, Draw, Given, ProblemInfo, Ranges,
        Report, Seconds, Source, Tally, Tolerance,
    },
    scheme::{Method, Precision, Scheme},
    tensor::{Dtype, Tensor},
};

mod compare;
mod judge;
mod memory;
mod noise;
mod on_device;
mod smallest;

pub use memory::memory;
pub use smallest::{Smallest, smallest};

use compare::{Comparator, block_rows, numeric, rel_err};
use noise::Noise;

/// What a gradient may be off by, in units of what the law says that a correct one is.
const MARGIN: f64 = 2.0;

/// A gradient under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is taken with respect to.
    pub wrt: Wrt,
    /// The gradient, [n, m]; without one, the engine's own backward pass is what is checked.
    pub gradient: Option<Tensor>,
}

/// How to check.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How the losses are computed.
    pub method: Method,
    /// Where the losses are taken.
    pub scheme: Scheme,
    /// The step; none for the scheme's own best.
    pub eps: Option<f64>,
    /// The arithmetic; none for f64 where the gradient is f64, else the device's natural one.
    pub precision: Option<Precision>,
    /// Relative tolerance, in place of the rounding of the gradient's type.
    pub rtol: Option<f64>,
    /// Absolute tolerance, likewise.
    pub atol: Option<f64>,
    /// The rows to check, of a gradient with a row a sample; none for all.
    pub rows: Option<Range<usize>>,
    /// A random draw of those.
    pub sample: Option<RandomRows>,
    /// Where errors are found.
    pub compare: CompareOn,
    /// Whether a picture of the errors is wanted: then they are found on the host.
    pub draws: bool,
}

/// Where errors are found. What the CPU engine computes is compared on the host in any case, and so are forward passes, a parameter's
/// gradient, one that was not given or is not exact in the device's arithmetic, and all where a listener wants the numeric gradient or a
/// picture is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum CompareOn {
    /// On a real GPU if the gradient is large, else on the host.
    #[default]
    Auto,
    /// On the host: what a device computed is read back.
    Host,
    /// On the device: sums are read back, and of entries only those that the host is to look at again.
    Device,
}

/// So many rows, drawn at random; all, where there are no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomRows {
    /// How many.
    pub rows: usize,
    /// What the random numbers begin with: the same seed draws the same rows.
    pub seed: u64,
}

/// What is told while a check runs.
pub trait Listener {
    /// A gradient of so many entries is next, for which so many bytes of input and gradient are read.
    fn begin(&mut self, _wrt: Wrt, _entries: u64, _bytes: u64) {}

    /// So many of all entries are done.
    fn progress(&mut self, _done: u64, _all: u64) {}

    /// Another cause of the errors is looked for.
    fn diagnosing(&mut self) {}

    /// Whether to stop, with a report of what is done.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Whether the numeric gradient is to be kept and handed on.
    fn wants_numeric(&self) -> bool {
        false
    }

    /// The numeric gradient of the next rows, [rows·m] f64, if it is wanted.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be kept.
    fn numeric(&mut self, _rows: &[f64]) -> Result<()> {
        Ok(())
    }
}

/// Nobody.
impl Listener for () {}

/// Keeps the numeric gradient.
impl Listener for Vec<f64> {
    fn wants_numeric(&self) -> bool {
        true
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        self.extend(rows);
        Ok(())
    }
}

/// Makes sure that there is something to check, before any of it is.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`] for a gradient that does not fit the problem, [`Error::Setting`] for an option
/// out of range.
pub fn validate(problem: &Problem, subjects: &[Subject], options: &Options) -> Result<()> {
    for subject in subjects {
        subject.validate(problem)?;
    }
    options.validate(problem, subjects)
}

/// Checks every subject on one device.
///
/// # Errors
/// Those of [`validate`], [`Error::Gpu`] for a fault of the device, [`Error::OraclesDisagree`] if the host cannot
/// confirm what the device convicts.
pub fn check(
    problem: &Problem,
    subjects: &[Subject],
    options: &Options,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Report> {
    let started = std::time::Instant::now();
    validate(problem, subjects, options)?;
    let f64_subject = subjects
        .iter()
        .any(|s| s.gradient.as_ref().is_some_and(|g| g.dtype() == Dtype::F64));
    let natural = if f64_subject {
        Precision::F64
    } else {
        device.natural_precision()
    };
    let precision = options.precision.unwrap_or(natural);
    let wrt: Vec<Wrt> = subjects.iter().map(|subject| subject.wrt).collect();
    let fallback = device.fallback(precision, options.method, &wrt);
    let device = fallback.as_ref().unwrap_or(device);
    let part = Selection::new(problem, options)?;
    let (mut checks, mut interrupted) = (Vec::new(), false);
    for subject in subjects {
        let report = check_one(&part, subject, options, precision, device, listener)?;
        let Some(mut report) = report else {
            interrupted = true;
            break;
        };
        interrupted |= !diagnose_one(&part, subject, &mut report, listener);
        if options.rows.is_some() {
            let wrt = subject.wrt;
            let number = |row| part.range.row_number(wrt, row);
            report.tally.number_rows(number);
        }
        checks.push(report);
    }
    relate(&mut checks);
    let compute = started.elapsed().as_secs_f64();
    Ok(Report {
        command: None,
        seconds: Seconds {
            load: 0.0,
            compute,
            total: compute,
        },
        device: device.info(),
        problem: ProblemInfo {
            n: problem.n(),
            d: problem.d(),
            k: problem.k(),
            dtype: problem.input().dtype(),
            reduction: problem.loss().reduction,
            label_smoothing: problem.loss().label_smoothing,
            ignore_index: problem.loss().ignore_index,
            class_weight: problem.loss().class_weight.is_some(),
        },
        notes: Vec::new(),
        interrupted,
        checks,
    })
}

/// The rows that are checked.
struct Selection<'a> {
    /// The whole, or a range of it.
    range: Cow<'a, Problem>,
    drawn: Option<Drawn>,
    /// How many rows there are in all.
    of: usize,
}

/// Rows of the range that were drawn.
struct Drawn {
    rows: Vec<usize>,
    seed: u64,
    /// Of those alone.
    problem: Problem,
}

impl<'a> Selection<'a> {
    fn new(problem: &'a Problem, options: &Options) -> Result<Self> {
        let range = match &options.rows {
            Some(rows) => Cow::Owned(problem.slice(rows.clone())),
            None => Cow::Borrowed(problem),
        };
        let n = range.n();
        let drawn = options.sample.filter(|sample| sample.rows < n);
        let draw = |sample: RandomRows| {
            let mut random = ChaCha8Rng::seed_from_u64(sample.seed);
            let mut rows = rand::seq::index::sample(&mut random, n, sample.rows).into_vec();
            rows.sort_unstable();
            // What was mapped and not yet read may hold anything.
            rows.iter()
                .try_for_each(|&row| range.require_finite(row..row + 1))?;
            let problem = range.gather(&rows);
            Ok(Drawn {
                rows,
                seed: sample.seed,
                problem,
            })
        };
        let drawn = drawn.map(draw).transpose()?;
        Ok(Self {
            drawn,
            of: problem.n(),
            range,
        })
    }

    /// Of those the problem that losses are computed of.
    fn problem(&self) -> &Problem {
        match &self.drawn {
            Some(drawn) => &drawn.problem,
            None => &self.range,
        }
    }

    /// How many rows of a gradient they are.
    fn rows(&self, wrt: Wrt) -> usize {
        self.problem().rows(wrt)
    }

    /// Their part of a gradient with respect to `wrt`.
    fn gradient(&self, wrt: Wrt, gradient: &Tensor) -> Tensor {
        let range = self.gradient_range(wrt, gradient);
        match &self.drawn {
            Some(drawn) => range.gather(&drawn.rows),
            None => range,
        }
    }

    /// The numbers, in the whole, of the rows of the range.
    fn numbers(&self) -> Range<usize> {
        let first = self.range.row_number(Wrt::Input, 0);
        first..first + self.range.n()
    }

    fn gradient_range(&self, wrt: Wrt, gradient: &Tensor) -> Tensor {
        if wrt.is_parameter() {
            gradient.clone()
        } else {
            gradient.slice(self.numbers())
        }
    }

    /// What the first `done` rows of it are in the whole.
    fn coverage(&self, wrt: Wrt, done: usize) -> Coverage {
        if wrt.is_parameter() {
            let rows = self.range.k();
            return Coverage {
                rows: Ranges::from(0..rows),
                of: rows,
                draw: None,
            };
        }
        let from = self.numbers();
        let first = from.start;
        Coverage {
            rows: match &self.drawn {
                Some(drawn) => drawn.rows[..done].iter().map(|row| first + row).collect(),
                None => Ranges::from(first..first + done),
            },
            of: self.of,
            draw: self.drawn.as_ref().map(|drawn| Draw {
                seed: drawn.seed,
                from,
            }),
        }
    }
}

/// The report on one gradient, of the rows that could be compared before the listener interrupted; none of no rows.
fn check_one(
    part: &Selection<'_>,
    subject: &Subject,
    options: &Options,
    precision: Precision,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<CheckReport>> {
    let (problem, wrt) = (part.problem(), subject.wrt);
    let dtype = subject
        .gradient
        .as_ref()
        .map_or_else(|| precision.dtype(), Tensor::dtype);
    let plan = Plan::new(
        problem,
        subject.wrt,
        options.method,
        options.scheme,
        options.eps,
        precision,
        dtype,
    );
    let tolerance = options.tolerance(problem, subject.wrt, dtype);
    let unit_roundoff = dtype.unit_roundoff();
    let comparator = Comparator {
        problem,
        plan,
        tolerance,
        unit_roundoff,
        noise: Noise::new(problem, &plan),
        draws: options.draws,
    };
    let gradient = subject.gradient.as_ref();
    let gradient = gradient.map(|gradient| part.gradient(wrt, gradient));
    let bytes = gradient.as_ref().map_or(0, Tensor::nbytes) + problem.input().nbytes();
    let entries = part.rows(wrt) * problem.columns(wrt);
    listener.begin(wrt, entries as u64, bytes as u64);
    let (name, on) = (wrt.grad_name(), device.info().name);
    tracing::info!(
        "{name}: {entries} entries, {:?} in {precision:?}, {}, eps = {:.3e}, on {on}",
        plan.method,
        plan.scheme,
        plan.eps
    );
    let given = gradient.as_ref();
    let (mut tally, done, compared) = if wrt.is_parameter() {
        tally_parameter(&comparator, given, device, listener)?
    } else {
        tally_rows(&comparator, given, options.compare, device, listener)?
    };
    if done == 0 {
        return Ok(None);
    }
    tracing::info!(
        "{name}: {} wrong, {} undecided; the worst are computed again by forward passes",
        tally.wrong,
        tally.undecided
    );
    let wrong = tally
        .worst
        .iter()
        .filter(|entry| entry.decision == Decision::Wrong)
        .chain(&tally.wrong_samples);
    judge::confirm(&comparator, &on, wrong.chain(&tally.other_samples))?;
    if let Some(drawn) = &part.drawn {
        tally.number_rows(|row| drawn.rows[row]);
    }
    Ok(Some(CheckReport {
        wrt,
        source: if subject.gradient.is_some() {
            Source::Given
        } else {
            Source::BuiltIn
        },
        dtype,
        method: plan.method,
        scheme: plan.scheme,
        precision,
        eps: plan.eps,
        tolerance,
        compared,
        coverage: part.coverage(wrt, done),
        tally,
        findings: Vec::new(),
        ruled_out: Vec::new(),
    }))
}

/// Looks for the cause of what is wrong. Whether it came to its end: not if the listener has interrupted, before it or during it.
fn diagnose_one(
    part: &Selection<'_>,
    subject: &Subject,
    report: &mut CheckReport,
    listener: &mut dyn Listener,
) -> bool {
    let wrt = subject.wrt;
    if report.coverage.rows.len() < part.rows(wrt) {
        return false;
    }
    let Some(gradient) = &subject.gradient else {
        return true;
    };
    // A random draw has lost its neighbours, and with them what exchanged them: the cause is looked for in all rows.
    let gradient = part.gradient_range(wrt, gradient);
    let mut goes_on = || {
        listener.diagnosing();
        !listener.is_interrupted()
    };
    let Some(diagnosis) = diagnose(&part.range, &gradient, report, &mut goes_on) else {
        return false;
    };
    let codes = diagnosis.findings.iter();
    let codes: Vec<String> = codes.map(|finding| finding.code.to_string()).collect();
    tracing::info!("{}: {:?} {codes:?}", wrt.grad_name(), report.verdict());
    report.findings = diagnosis.findings;
    report.ruled_out = diagnosis.ruled_out;
    true
}

/// The gradient and its numeric counterpart in the first rows, of one plan.
pub(crate) struct NumericRows {
    /// The losses, a vector a step.
    pub(crate) losses: Vec<Vec<f64>>,
    pub(crate) analytic: Vec<f64>,
    pub(crate) numeric: Vec<f64>,
}

impl NumericRows {
    pub(crate) fn mean_rel_err(&self) -> f64 {
        let errors = self
            .analytic
            .iter()
            .zip(&self.numeric)
            .map(|(&a, &n)| rel_err(a, n));
        errors.sum::<f64>() / self.analytic.len() as f64
    }
}

/// Computes the first `rows` rows of a gradient.
pub(crate) fn numeric_rows(
    problem: &Problem,
    subject: &Subject,
    plan: Plan,
    rows: usize,
    device: &Device,
) -> Result<NumericRows> {
    let mut engine = device.engine(problem, plan)?;
    let mut all = NumericRows {
        losses: Vec::new(),
        analytic: Vec::new(),
        numeric: Vec::new(),
    };
    for rows in chunks(rows, engine.rows_per_call(), block_rows(problem, &plan)) {
        let evaluation = engine.evaluate(rows.clone())?;
        all.analytic.extend(match &subject.gradient {
            Some(gradient) => gradient.rows(rows.clone()),
            None => engine.backward(rows)?,
        });
        all.losses.resize(evaluation.losses.len(), Vec::new());
        all.losses
            .iter_mut()
            .zip(&evaluation.losses)
            .for_each(|(all, losses)| all.extend(losses));
        all.numeric.extend(numeric(problem, &plan, evaluation));
    }
    Ok(all)
}

/// Chunks that are begun before the one that is compared: a device computes the next while the host compares.
const AHEAD: usize = 1;

/// Entries of the numeric gradient that are kept at a time, where a listener wants it: 8 MiB, and about twice that on the way.
const KEPT_ENTRIES: usize = 1 << 20;

/// A gradient with a row for each sample: compared as the rows come. Returns how many were, and where.
fn tally_rows(
    comparator: &Comparator<'_>,
    gradient: Option<&Tensor>,
    compare: CompareOn,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<(Tally, usize, ComparedOn)> {
    let (problem, plan) = (comparator.problem, comparator.plan);
    let mut tally = Tally::default();
    let on_device = gradient.filter(|gradient| {
        let is_exact = gradient.dtype() != Dtype::F64 || plan.precision == Precision::F64;
        let entries = problem.n() * problem.columns(plan.wrt);
        is_exact
            && plan.method == Method::Difference
            && !comparator.draws
            && !listener.wants_numeric()
            && compare.is_on(device, entries)
    });
    let comparer = match on_device {
        Some(gradient) => device
            .comparing_engine(problem, plan, &comparator.allowance())?
            .map(|comparer| (comparer, gradient)),
        None => None,
    };
    let (mut engine, first): (Box<dyn Engine + '_>, usize) = match comparer {
        Some((mut comparer, gradient)) => {
            let name = device.info().name;
            let first = on_device::tally_rows(
                comparator,
                gradient,
                comparer.as_mut(),
                &name,
                &mut tally,
                listener,
            )?;
            (comparer, first)
        }
        None => (device.engine(problem, plan)?, 0),
    };
    let compared = match first {
        0 => ComparedOn::Host,
        _ => ComparedOn::Device,
    };
    let m = problem.columns(comparator.plan.wrt);
    let keep = listener.wants_numeric();
    let rows_per_call = if keep {
        engine.rows_per_call().min((KEPT_ENTRIES / m).max(1))
    } else {
        engine.rows_per_call()
    };
    let all: Vec<Range<usize>> = chunks(problem.n(), rows_per_call, block_rows(problem, &plan))
        .filter(|rows| rows.start >= first)
        .collect();
    // With a backward pass between them there is nothing to overlap.
    let ahead = if gradient.is_some() { AHEAD } else { 0 };
    let mut upcoming = all.iter();
    upcoming
        .by_ref()
        .take(ahead)
        .for_each(|rows| engine.submit(rows.clone()));
    for rows in &all {
        let first = rows.start;
        if listener.is_interrupted() {
            return Ok((tally, first, compared));
        }
        tracing::debug!("rows {} to {}", first, rows.end - 1);
        let backward = match gradient {
            Some(_) => Vec::new(),
            None => engine.backward(rows.clone())?,
        };
        let analytic = |rows: Range<usize>, values: &mut Vec<f64>| match gradient {
            Some(gradient) => gradient.read(rows, values),
            None => *values = backward[(rows.start - first) * m..(rows.end - first) * m].to_vec(),
        };
        if let Some(next) = upcoming.next() {
            engine.submit(next.clone());
        }
        let chunk: Box<dyn RowSource + '_> = if engine.splits_rows() {
            let mut keep_going = |share: f64| {
                let done = (first as f64 + share) * m as f64;
                listener.progress(done as u64, (problem.n() * m) as u64);
                !listener.is_interrupted()
            };
            match engine.evaluate_in_parts(first, &mut keep_going) {
                Some(row) => Box::new(row),
                None => return Ok((tally, first, compared)),
            }
        } else {
            engine.collect()?
        };
        let numeric = comparator.compare(&mut tally, rows.clone(), chunk.as_ref(), &analytic, keep);
        if keep {
            listener.numeric(&numeric)?;
        }
        listener.progress((rows.end * m) as u64, (problem.n() * m) as u64);
    }
    Ok((tally, problem.n(), compared))
}

/// A gradient to which every sample adds: compared when all have.
fn tally_parameter(
    comparator: &Comparator<'_>,
    gradient: Option<&Tensor>,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<(Tally, usize, ComparedOn)> {
    let problem = comparator.problem;
    let mut engine = device.engine(problem, comparator.plan)?;
    let mut sums: Option<(Evaluation, Vec<f64>)> = None;
    let m = problem.columns(comparator.plan.wrt);
    let entries = (problem.k() * m) as u64;
    for rows in chunks(problem.n(), engine.rows_per_call(), 1) {
        if listener.is_interrupted() {
            return Ok((Tally::default(), 0, ComparedOn::Host));
        }
        let part = if engine.splits_rows() {
            let mut keep_going = |share: f64| {
                let done = (rows.start as f64 + share) / problem.n() as f64;
                listener.progress((done * entries as f64) as u64, entries);
                !listener.is_interrupted()
            };
            match engine.evaluate_in_parts(rows.start, &mut keep_going) {
                Some(part) => part,
                None => return Ok((Tally::default(), 0, ComparedOn::Host)),
            }
        } else {
            engine.evaluate(rows.clone())?
        };
        let backward = if gradient.is_none() {
            engine.backward(rows.clone())?
        } else {
            Vec::new()
        };
        sums = Some(match sums {
            None => (part, backward),
            Some((sum, analytic)) => (
                sum.add(part),
                analytic
                    .into_iter()
                    .zip(backward)
                    .map(|(a, b)| a + b)
                    .collect(),
            ),
        });
        let done = rows.end as f64 / problem.n() as f64;
        listener.progress((done * entries as f64) as u64, entries);
    }
    let (evaluation, backward) = sums.unwrap_or_default();
    let analytic = gradient.map_or(backward, Tensor::values);
    let rows = |rows: Range<usize>, values: &mut Vec<f64>| {
        *values = analytic[rows.start * m..rows.end * m].to_vec();
    };
    let keep = listener.wants_numeric();
    let mut tally = Tally::default();
    let numeric = comparator.compare(&mut tally, 0..problem.k(), &evaluation, &rows, keep);
    if keep {
        listener.numeric(&numeric)?;
    }
    Ok((tally, problem.k(), ComparedOn::Host))
}

/// The rows, at most so many at a time; whole blocks of so many where those fit.
fn chunks(n: usize, rows_per_call: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = rows_per_call / block * block;
    let rows_per_call = match blocks {
        // What is left over would wait for the rest, and then be one thread's.
        _ if rows_per_call >= n => n,
        0 => rows_per_call,
        blocks => blocks,
    };
    (0..n)
        .step_by(rows_per_call)
        .map(move |start| start..n.min(start + rows_per_call))
}

impl Subject {
    /// # Errors
    /// [`Error::Shape`] or [`Error::Dtype`] if the gradient cannot be one of this problem.
    pub(crate) fn validate(&self, problem: &Problem) -> Result<()> {
        let Some(gradient) = &self.gradient else {
            return Ok(());
        };
        let name = self.wrt.grad_name();
        gradient.require_float(name)?;
        let shape = problem.gradient_shape(self.wrt);
        if gradient.shape() != shape {
            let expected = format!("it must be {shape:?}, the shape of {}", self.wrt.name());
            return Err(Error::Shape {
                name,
                expected,
                found: gradient.shape().to_vec(),
            });
        }
        Ok(())
    }
}

/// Entries that are rather read back: about a hundredth of a second's work.
const MOST_READ_BACK: usize = 1 << 22;

impl CompareOn {
    fn is_on(self, device: &Device, entries: usize) -> bool {
        match self {
            Self::Auto => device.info().kind == DeviceKind::Gpu && entries > MOST_READ_BACK,
            Self::Host => false,
            Self::Device => true,
        }
    }
}

impl Options {
    /// # Errors
    /// [`Error::Setting`] if a number is out of its range, or rows are chosen that are not there.
    fn validate(&self, problem: &Problem, subjects: &[Subject]) -> Result<()> {
        let parameter = subjects.iter().find(|subject| subject.wrt.is_parameter());
        let some_rows = [
            (self.rows.is_some(), "--rows"),
            (self.sample.is_some(), "--sample"),
        ];
        for (_, name) in some_rows.into_iter().filter(|(given, _)| *given) {
            if let Some(parameter) = parameter {
                let (found, grad) = ("some of the samples".to_owned(), parameter.wrt.grad_name());
                let expected = format!("{grad} is a sum over all of them");
                return Err(Error::Setting {
                    name,
                    found,
                    expected,
                });
            }
        }
        if let Some(rows) = &self.rows
            && (rows.is_empty() || rows.end > problem.n())
        {
            let n = problem.n();
            return Err(Error::Setting {
                name: "--rows",
                found: format!("{}..{}", rows.start, rows.end),
                expected: format!(
                    "input has {n} rows: A..B takes them from A to before B, and B is at most {n}"
                ),
            });
        }
        if self.sample.is_some_and(|sample| sample.rows == 0) {
            return Err(Error::Setting {
                name: "--sample",
                found: "0".to_owned(),
                expected: "a sample has a row at least".to_owned(),
            });
        }
        let not_negative = |name, value: Option<f64>| match value {
            Some(value) if !(value >= 0.0 && value.is_finite()) => {
                let expected = "a tolerance is a number that is not negative".to_owned();
                Err(Error::Setting {
                    name,
                    found: format!("{value:?}"),
                    expected,
                })
            }
            _ => Ok(()),
        };
        not_negative("--rtol", self.rtol)?;
        not_negative("--atol", self.atol)?;
        match self.eps {
            Some(eps) if !(1e-30..=1e3).contains(&eps) => {
                let expected = "a step lies between 1e-30 and 1e3".to_owned();
                Err(Error::Setting {
                    name: "--eps",
                    found: format!("{eps:?}"),
                    expected,
                })
            }
            _ => Ok(()),
        }
    }

    /// By the rounding of the gradient's type, unless the user says otherwise: twice what [`RoundingModel`] says, and below
    /// that what a framework may flush to zero.
    fn tolerance(&self, problem: &Problem, wrt: Wrt, dtype: Dtype) -> Tolerance {
        let given = (self.rtol.is_some() || self.atol.is_some()).then(|| Given {
            rtol: self.rtol.unwrap_or(0.0),
            atol: self.atol.unwrap_or(0.0),
        });
        let floor = noise::underflow(problem, wrt, dtype.smallest_kept());
        let roundings = match dtype {
            // One for samples that are alike, and what 1/Z loses; with weights of the targets' own measured at 3.
            Dtype::F16 | Dtype::BF16
                if problem.is_one_hot() && problem.loss().class_weight.is_none() =>
            {
                1.25 + dtype.lost_in_reciprocal(problem.normalizer())
            }
            Dtype::F16 | Dtype::BF16 => 4.0,
            // The sums behind s are themselves in f64, a row or a block of rows at a time.
            Dtype::F64 => 256.0,
            _ => 16.0,
        };
        let u = dtype.unit_roundoff();
        // Half precision is summed in f32.
        let drift = noise::drift(problem, wrt, u.min(Dtype::F32.unit_roundoff()));
        Tolerance {
            factor: MARGIN * RoundingModel::LOGITS * u,
            floor,
            drift,
            shared: roundings * u + drift,
            given,
        }
    }
}
