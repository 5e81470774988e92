//! A case: arrays with names, in memory or in a file, and the work on it.

use std::{collections::BTreeMap, path::PathBuf, rc::Rc};

use gradprobe::{
    case::Gradient,
    check::Listener,
    device::Device,
    error::Result,
    io::{self, Content, Source},
    problem::{Layout, Wrt},
    report::{Check, Report, Verdict},
    scheme::Precision,
    settings::Settings,
    sweep::{self, Sweep},
    tensor::Tensor,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{array, opened, task::Interrupts};

/// Entries up to which a picture of the errors is always drawn. Measured: at a million entries it
/// takes a few milliseconds.
const PICTURED: usize = 1 << 20;

/// Arrays with names, in memory or in a file.
#[pyclass(frozen, module = "gradprobe._native")]
pub(crate) struct Case(Source);

/// A case that a function takes from Python. It shares the arrays.
impl<'a, 'py> FromPyObject<'a, 'py> for Case {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let case = object.cast::<Self>()?;
        Ok(Self(case.get().0.clone()))
    }
}

/// The way to check a case.
pub(crate) struct Request {
    pub(crate) settings: Settings,
    /// Sentences on the arrays, for the report.
    pub(crate) notes: Vec<String>,
    pub(crate) device: String,
    /// Bytes for arrays apart from the weights.
    pub(crate) memory: u64,
    /// True to draw a picture of the errors; `None` draws one of a small gradient.
    pub(crate) picture: Option<bool>,
    /// True to keep the numeric gradients.
    pub(crate) numeric: bool,
}

/// A checked case.
pub(crate) struct Checked {
    pub(crate) report: Report,
    /// For each check the errors at every step size, if they were computed.
    pub(crate) sweeps: Vec<Option<Sweep>>,
    /// The axes of each gradient, if it is no matrix [rows, m].
    pub(crate) layouts: Vec<Option<Layout>>,
    /// The numeric gradients, if they were to be kept.
    pub(crate) numeric: Vec<Numeric>,
    /// The file, or the name of arrays in memory.
    pub(crate) name: PathBuf,
}

/// A numeric gradient, and where the analytic one differs most from it.
pub(crate) struct Numeric {
    /// The name of the gradient.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
    /// The greatest |analytic - numeric|, and |analytic - numeric| / |numeric|, with their places.
    pub(crate) greatest: [(f64, usize); 2],
}

/// Collects the numeric gradients of a check, unless it is to be interrupted.
struct Collector {
    interrupts: Interrupts,
    keeps: bool,
    values: Vec<Vec<f64>>,
}

impl Listener for Collector {
    fn begin(&mut self, _wrt: Wrt, entries: u64, _bytes: u64) {
        let capacity = if self.keeps { entries as usize } else { 0 };
        self.values.push(Vec::with_capacity(capacity));
    }

    fn is_interrupted(&self) -> bool {
        self.interrupts.is_interrupted()
    }

    fn wants_numeric(&self) -> bool {
        self.keeps
    }

    fn numeric(&mut self, rows: &[f64]) -> Result<()> {
        if let Some(values) = self.values.last_mut() {
            values.extend(rows);
        }
        Ok(())
    }
}

impl Case {
    pub(crate) fn new(source: Source) -> Self {
        Self(source)
    }

    pub(crate) fn is_of_file(&self) -> bool {
        matches!(self.0, Source::File(_))
    }

    /// Checks the case. If it is interrupted, the report covers the rows that are done.
    ///
    /// # Errors
    /// Those of [`Settings::load`], [`opened::device`] and [`Case::check`](gradprobe::case::Case::check).
    pub(crate) fn check(&self, request: &Request, interrupts: Interrupts) -> Result<Checked> {
        let settings = &request.settings;
        let case = settings.load(&self.0, request.memory, None)?;
        let device = match &case.content {
            Content::Layer(_) => opened::device(&request.device, request.memory)?,
            Content::Network(_) => Rc::new(Device::Cpu { note: None }),
        };
        let gradients = case.gradients();
        let is_small = |it: &Gradient| it.shape.iter().product::<usize>() <= PICTURED;
        let picture = request.picture.unwrap_or(gradients.iter().all(is_small));
        let mut collector = Collector {
            interrupts,
            keeps: request.numeric,
            values: Vec::new(),
        };
        let options = settings.options(picture);
        let mut report = case.check(&options, &device, &mut collector)?;
        report.notes.splice(0..0, request.notes.clone());
        // Errors over the step are drawn beside a picture of a wrong gradient.
        let sweeps = if picture && report.verdict == Verdict::Fail {
            case.sweeps(&options, &report)?
        } else {
            Vec::new()
        };
        let of = |check: &Check| {
            let gradient = gradients.iter().find(|it| it.name == check.name());
            gradient.and_then(|it| it.layout.cloned())
        };
        Ok(Checked {
            layouts: report.checks.iter().map(of).collect(),
            numeric: collector.numeric_of(&gradients, &report),
            name: self.0.path().to_owned(),
            report,
            sweeps,
        })
    }

    /// Sweeps over the step for each gradient. Returns the reasons to leave out others too.
    ///
    /// # Errors
    /// Those of [`io::load`], [`opened::device`] and [`sweep::sweep`].
    pub(crate) fn sweep(
        &self,
        settings: &Settings,
        steps: (f64, f64),
        device: &str,
    ) -> Result<(Vec<Sweep>, Vec<String>)> {
        let inputs = io::load(&self.0, &settings.loss.request(None))?;
        let precision = settings.options(false).precision.unwrap_or(Precision::F32);
        let device = opened::device(device, 1 << 30)?;
        let (problem, work) = (&inputs.problem, sweep::WORK);
        let is_asked = !settings.loss.wrt.is_empty();
        let (mut sweeps, mut skipped) = (Vec::new(), Vec::new());
        for subject in &inputs.subjects {
            match sweep::reason_to_skip(problem, subject.wrt, is_asked) {
                Some(reason) => skipped.push(reason),
                None => {
                    let sweep = sweep::sweep(problem, subject, precision, steps, work, &device)?;
                    sweeps.push(sweep);
                }
            }
        }
        Ok((sweeps, skipped))
    }
}

impl Collector {
    fn numeric_of(self, gradients: &[Gradient], report: &Report) -> Vec<Numeric> {
        let kept = self.values.into_iter().zip(&report.checks);
        let kept = kept.filter(|(values, _)| !values.is_empty());
        let of = |(values, check): (Vec<f64>, &Check)| {
            let gradient = gradients.iter().find(|it| it.name == check.name())?;
            Some(Numeric::new(gradient, values))
        };
        kept.filter_map(of).collect()
    }
}

impl Numeric {
    /// Compares the values with the analytic gradient, if all are there.
    fn new(gradient: &Gradient, values: Vec<f64>) -> Self {
        let mut shape = gradient.shape.clone();
        let columns: usize = shape.iter().skip(1).product();
        let is_whole = values.len() == shape.iter().product::<usize>();
        let analytic = gradient.tensor;
        let mut greatest = [(0.0, 0); 2];
        if let Some(analytic) = analytic.filter(|_| is_whole) {
            let analytic = analytic.values::<f64>();
            for (place, (a, g)) in analytic.iter().zip(&values).enumerate() {
                let error = (a - g).abs();
                for (most, error) in greatest.iter_mut().zip([error, error / g.abs()]) {
                    if error > most.0 {
                        *most = (error, place);
                    }
                }
            }
        }
        if !is_whole {
            shape[0] = values.len() / columns.max(1);
        }
        Self {
            name: gradient.name.to_owned(),
            shape,
            values,
            greatest,
        }
    }
}

/// Returns the arrays of a dict as tensors. A value is an array, or a pair of an array and the name
/// of the element type that its bytes have.
pub(crate) fn tensors(arrays: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for (name, value) in arrays {
        let name: String = name.extract()?;
        let (array, dtype): (Bound<'_, PyAny>, Option<String>) = value.extract()?;
        let tensor = array::tensor(&name, &array, dtype.as_deref())?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
