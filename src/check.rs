//! The check: computes numeric gradients on a device, compares them with the gradients under test,
//! and reports errors, verdicts and causes.

use crate::{
    device::Device,
    diagnose::{Diagnosis, diagnose, relate, relations},
    error::{Error, Result},
    plan::Plan,
    problem::{Problem, Wrt},
    report::{
        Check, ComparedOn, Comparison, Coverage, Decision, ProblemInfo, Relation, Report, Seconds,
        Source, Tally, Verdict,
    },
    rounding::{Noise, Tolerance},
    scheme::Precision,
    tensor::{Dtype, Tensor},
};

mod by_rows;
mod by_sum;
mod comparator;
mod compare;
mod likeness;
mod listener;
mod memory;
mod network;
mod on_device;
mod options;
mod oracle;
#[cfg(feature = "files")]
mod partial;
mod selection;
mod smallest;

pub(crate) use compare::rel_err;
pub use listener::Listener;
pub use memory::memory;
pub use network::{network, validate as validate_network};
pub use options::{CompareOn, Options, RandomRows};
#[cfg(feature = "files")]
pub use partial::{Sums, compare as compare_part};
pub use smallest::{Smallest, smallest};

use comparator::Comparator;
use likeness::Draw;
use selection::Selection;

/// A gradient under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The variable that the gradient is taken with respect to.
    pub wrt: Wrt,
    /// The gradient: [n, m], or [k, m] for a parameter. `None` checks the engine's own backward
    /// pass.
    pub gradient: Option<Tensor>,
}

/// The default of [`Options::min_power`]: 10 %.
pub const MIN_POWER: f64 = 0.1;

/// Validates the gradients and the options, before anything is computed.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`] for a gradient that does not fit the problem,
/// [`Error::Setting`] for an option out of range.
pub fn validate(problem: &Problem, subjects: &[Subject], options: &Options) -> Result<()> {
    for subject in subjects {
        subject.validate(problem)?;
    }
    options.validate(problem, subjects)
}

/// Checks every subject on one device.
///
/// # Errors
/// Those of [`validate`]; [`Error::Gpu`] if the device's driver reports a fault;
/// [`Error::OraclesDisagree`] if the host cannot confirm an entry that the device found wrong.
pub fn check(
    problem: &Problem,
    subjects: &[Subject],
    options: &Options,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Report> {
    let started = std::time::Instant::now();
    validate(problem, subjects, options)?;
    let (precision, fallback) = arithmetic(problem, subjects, options, device);
    let device = fallback.as_ref().unwrap_or(device);
    let selection = Selection::new(problem, options)?;
    let draw = Draw::of(selection.problem());
    let (mut checks, mut check_seconds, mut interrupted) = (Vec::new(), Vec::new(), false);
    for subject in subjects {
        let begun = std::time::Instant::now();
        let comparison = compare_one(
            &selection, &draw, subject, options, precision, device, listener,
        )?;
        let Some(mut comparison) = comparison else {
            interrupted = true;
            break;
        };
        let diagnosis = diagnose_one(&selection, subject, &comparison, listener);
        interrupted |= diagnosis.is_none();
        let Diagnosis { findings, tried } = diagnosis.unwrap_or_default();
        if options.rows.is_some() {
            let number = |row| selection.range.row_number(subject.wrt, row);
            comparison.tally.number_rows(number);
        }
        let layout = problem.layout(subject.wrt);
        checks.push(Check::new(comparison, layout, findings, tried));
        check_seconds.push(begun.elapsed().as_secs_f64());
    }
    let relations = related(&selection, subjects, &checks);
    relate(&mut checks, &relations);
    let compute = started.elapsed().as_secs_f64();
    Ok(Report {
        seconds: Seconds {
            load: 0.0,
            compute,
            total: compute,
        },
        interrupted,
        relations,
        check_seconds,
        ..Report::new(device.info(), info(problem), checks)
    })
}

/// Returns the precision of a check, and the device that takes over if `device` cannot compute in
/// it.
fn arithmetic(
    problem: &Problem,
    subjects: &[Subject],
    options: &Options,
    device: &Device,
) -> (Precision, Option<Device>) {
    let precision = options.precision_for(problem, subjects, device);
    let wrt: Vec<Wrt> = subjects.iter().map(|subject| subject.wrt).collect();
    (precision, device.fallback(precision, options.method, &wrt))
}

/// Compares the gradients under test with each other, if one of them is wrong.
fn related(selection: &Selection<'_>, subjects: &[Subject], checks: &[Check]) -> Vec<Relation> {
    if checks.iter().all(|check| check.verdict != Verdict::Fail) {
        return Vec::new();
    }
    let gradients = subjects.iter().filter_map(|Subject { wrt, gradient }| {
        let gradient = selection.gradient_range(*wrt, gradient.as_ref()?);
        Some((*wrt, gradient))
    });
    relations(&selection.range, &gradients.collect::<Vec<_>>(), checks)
}

/// Returns the sizes and options of a problem.
pub(crate) fn info(problem: &Problem) -> ProblemInfo {
    ProblemInfo {
        n: problem.n(),
        d: (!problem.is_of_logits()).then(|| problem.d()),
        k: problem.k(),
        dtype: problem.samples().dtype(),
        network: None,
        reduction: problem.loss().reduction,
        label_smoothing: problem.loss().label_smoothing,
        ignore_index: problem.loss().ignore_index,
        class_weight: problem.loss().class_weight.is_some(),
        sample_weight: problem.sample_weight().is_some(),
        normalizer: problem.loss().normalizer,
    }
}

/// The comparison of one gradient.
struct Compared {
    tally: Tally,
    /// The number of rows that were compared.
    rows: usize,
    on: ComparedOn,
}

/// Compares one gradient with its numeric counterpart. Returns `None` if the listener interrupts
/// before the first row is compared.
fn compare_one(
    selection: &Selection<'_>,
    draw: &Draw,
    subject: &Subject,
    options: &Options,
    precision: Precision,
    device: &Device,
    listener: &mut dyn Listener,
) -> Result<Option<Comparison>> {
    let (problem, wrt) = (selection.problem(), subject.wrt);
    let comparator = comparator(problem, draw, subject, options, precision, listener);
    let plan = comparator.plan;
    let gradient = subject.gradient.as_ref();
    let gradient = gradient.map(|gradient| selection.gradient(wrt, gradient));
    let bytes = gradient.as_ref().map_or(0, Tensor::nbytes) + problem.samples().nbytes();
    let entries = selection.rows(wrt) * comparator.columns();
    listener.begin(wrt, entries as u64, bytes as u64);
    let (name, on) = (wrt.grad_name(), device.info().name);
    tracing::info!(
        "{name}: {entries} entries, {} in {precision}, {}, eps = {:.3e}, on {on}",
        plan.method,
        plan.scheme,
        plan.eps
    );
    let given = gradient.as_ref();
    let compared = if wrt.is_parameter() {
        by_sum::tally(&comparator, given, device, listener)?
    } else {
        by_rows::tally(&comparator, given, options.compare, device, listener)?
    };
    let Some(mut compared) = compared else {
        return Ok(None);
    };
    confirm(&comparator, &compared.tally, name, &on)?;
    if let Some(drawn) = &selection.drawn {
        compared.tally.number_rows(|row| drawn.rows[row]);
    }
    let source = match given {
        Some(_) => Source::Given,
        None => Source::BuiltIn,
    };
    let coverage = selection.coverage(wrt, compared.rows);
    let comparison = comparator.comparison(source, options, coverage, compared);
    Ok(Some(comparison))
}

impl Comparator<'_> {
    /// Returns a comparison with these settings.
    fn comparison(
        &self,
        source: Source,
        options: &Options,
        coverage: Coverage,
        compared: Compared,
    ) -> Comparison {
        let plan = &self.plan;
        Comparison {
            wrt: plan.wrt,
            source,
            dtype: plan.dtype,
            method: plan.method,
            scheme: plan.scheme,
            precision: plan.precision,
            eps: plan.eps,
            tolerance: self.tolerance,
            min_power: options.min_power.unwrap_or(MIN_POWER),
            compared: compared.on,
            coverage,
            tally: compared.tally,
        }
    }
}

/// Plans the numeric gradient of a subject, and bounds the errors of both.
fn comparator<'a>(
    problem: &'a Problem,
    draw: &Draw,
    subject: &Subject,
    options: &Options,
    precision: Precision,
    listener: &dyn Listener,
) -> Comparator<'a> {
    let derivative = options.derivative(subject.wrt);
    let dtype = subject.dtype(problem).unwrap_or_else(|| precision.dtype());
    let plan = Plan::new(problem, derivative, options.eps, precision).for_gradient_of(dtype);
    let likeness = draw.likeness(dtype);
    let multiplicity = likeness.of_sums();
    Comparator {
        problem,
        plan,
        tolerance: Tolerance::new(
            problem,
            &plan,
            options.given(),
            multiplicity,
            likeness.is_even(),
        ),
        likeness,
        noise: Noise::new(problem, &plan, multiplicity),
        picture: options.picture,
        keeps_numeric: listener.wants_numeric(),
    }
}

/// Confirms wrong entries and a sample of the others by the second oracle.
///
/// # Errors
/// [`Error::OraclesDisagree`] if the oracle and the device disagree on the numeric gradient.
fn confirm(comparator: &Comparator<'_>, tally: &Tally, name: &str, device: &str) -> Result<()> {
    tracing::info!(
        "{name}: {} wrong, {} undecided; the worst are computed again by forward passes",
        tally.counts.wrong,
        tally.counts.undecided
    );
    let worst = tally.kept.worst.iter();
    let wrong = worst.filter(|entry| entry.decision == Some(Decision::Wrong));
    let samples = tally.kept.wrong.iter().chain(&tally.kept.others);
    oracle::confirm(comparator, device, wrong.chain(samples))
}

/// Finds the causes of wrong entries. Returns `None` if the listener interrupts the diagnosis, or
/// has interrupted the comparison.
fn diagnose_one(
    selection: &Selection<'_>,
    subject: &Subject,
    comparison: &Comparison,
    listener: &mut dyn Listener,
) -> Option<Diagnosis> {
    let wrt = subject.wrt;
    if comparison.coverage.compared < selection.rows(wrt) {
        return None;
    }
    let Some(gradient) = &subject.gradient else {
        return Some(Diagnosis::default());
    };
    // The rows of a random draw are not adjacent, so they cannot show that rows were exchanged.
    // The diagnosis therefore examines all rows of the range.
    let gradient = selection.gradient_range(wrt, gradient);
    let mut keep_going = || {
        listener.diagnosing();
        !listener.is_interrupted()
    };
    let diagnosis = diagnose(&selection.range, &gradient, comparison, &mut keep_going)?;
    let codes = diagnosis.findings.iter();
    let codes: Vec<String> = codes.map(|finding| finding.code.to_string()).collect();
    tracing::info!("{}: {} {codes:?}", wrt.grad_name(), comparison.verdict());
    Some(diagnosis)
}

impl Subject {
    /// Returns the type that the gradient was computed in, or `None` if none is given.
    pub(crate) fn dtype(&self, problem: &Problem) -> Option<Dtype> {
        let gradient = self.gradient.as_ref()?;
        Some(problem.computed_in().unwrap_or_else(|| gradient.dtype()))
    }

    /// Requires the gradient to fit the problem.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Dtype`] if it does not.
    pub(crate) fn validate(&self, problem: &Problem) -> Result<()> {
        let Some(gradient) = &self.gradient else {
            return Ok(());
        };
        let name = self.wrt.grad_name();
        gradient.require_float(name)?;
        let (stored, computed) = (gradient.dtype(), problem.computed_in());
        let is_finer = |dtype: &Dtype| dtype.unit_roundoff() < stored.unit_roundoff();
        if let Some(dtype) = computed.filter(is_finer) {
            return Err(Error::Setting {
                name: "computed_in",
                found: dtype.to_string(),
                expected: format!(
                    "{name} holds {stored}, which cannot hold the numbers of {dtype}"
                ),
            });
        }
        if problem.is_of_logits() && self.wrt != Wrt::Logits {
            return Err(Error::Setting {
                name: "wrt",
                found: self.wrt.name().to_owned(),
                expected: "the logits are given, and are the only variable".to_owned(),
            });
        }
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
