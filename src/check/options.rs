//! The options of a check, and their validation.

use std::ops::Range;

use super::Subject;
use crate::{
    budget,
    device::Device,
    error::{Error, Result},
    plan::Differentiation,
    problem::{Problem, Wrt},
    report::DeviceKind,
    rounding::Given,
    scheme::{Method, Precision, Scheme},
    tensor::Dtype,
};

/// The options of a check.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The method by which losses become a derivative.
    pub method: Method,
    /// The points at which losses are computed.
    pub scheme: Scheme,
    /// The step. `None` takes the scheme's own best step.
    pub eps: Option<f64>,
    /// The arithmetic. `None` takes f64 if a gradient is f64, else the device's default.
    pub precision: Option<Precision>,
    /// The relative tolerance, instead of the rounding of the gradient's type.
    pub rtol: Option<f64>,
    /// The absolute tolerance, instead of the rounding of the gradient's type.
    pub atol: Option<f64>,
    /// The largest relative error in all entries that a check may fail to detect and still pass.
    /// `None` is [`MIN_POWER`](super::MIN_POWER).
    pub min_power: Option<f64>,
    /// The rows to check, of a gradient with one row per sample. `None` takes all rows.
    pub rows: Option<Range<usize>>,
    /// A random draw of those rows.
    pub sample: Option<RandomRows>,
    /// The place of the comparison.
    pub compare: CompareOn,
    /// True to collect a picture of the errors. The host then compares.
    pub picture: bool,
}

/// The place where a gradient is compared with the numeric one.
///
/// Some comparisons always run on the host, whatever the setting:
/// - of derivatives that the CPU engine or forward passes computed;
/// - of the gradient of a parameter;
/// - of a built-in gradient, and of one that is not exact in the device's arithmetic;
/// - all, if a listener wants the numeric gradient or a picture is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum CompareOn {
    /// On a real GPU if the gradient is large, else on the host.
    #[default]
    Auto,
    /// On the host. It reads back every entry that a device computed.
    Host,
    /// On the device. The host reads back sums, and the entries to compare again.
    Device,
}

/// The setting for a random draw of rows: all rows if there are no more than `rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomRows {
    /// The number of rows.
    pub rows: usize,
    /// The seed: the same seed draws the same rows.
    pub seed: u64,
}

impl CompareOn {
    /// Returns true if this many entries are compared on the device.
    pub(super) fn is_on(self, device: &Device, entries: usize) -> bool {
        match self {
            Self::Auto => {
                let is_gpu = device.info().kind == DeviceKind::Gpu;
                is_gpu && entries > budget::HOST_COMPARED_ENTRIES
            }
            Self::Host => false,
            Self::Device => true,
        }
    }
}

impl Options {
    /// Returns the derivative with respect to `wrt`, approximated by these options.
    pub(crate) fn derivative(&self, wrt: Wrt) -> Differentiation {
        Differentiation {
            wrt,
            method: self.method,
            scheme: self.scheme,
        }
    }

    /// Returns the user's tolerances, or `None` if there is neither.
    pub(super) fn given(&self) -> Option<Given> {
        (self.rtol.is_some() || self.atol.is_some()).then(|| Given {
            rtol: self.rtol.unwrap_or(0.0),
            atol: self.atol.unwrap_or(0.0),
        })
    }

    /// Returns the arithmetic. The default is f64 if a gradient is f64, else that of the device.
    pub(super) fn precision_for(
        &self,
        problem: &Problem,
        subjects: &[Subject],
        device: &Device,
    ) -> Precision {
        let mut dtypes = subjects.iter().filter_map(|subject| subject.dtype(problem));
        self.precision.unwrap_or_else(|| {
            if dtypes.any(|dtype| dtype == Dtype::F64) {
                Precision::F64
            } else {
                device.natural_precision()
            }
        })
    }

    /// Checks every option.
    ///
    /// # Errors
    /// [`Error::Setting`] if a number is out of range, or a selected row does not exist.
    pub(super) fn validate(&self, problem: &Problem, subjects: &[Subject]) -> Result<()> {
        self.validate_rows(problem, subjects)?;
        self.validate_tolerances()?;
        match self.eps {
            Some(eps) if !(1e-30..=1e3).contains(&eps) => Err(Error::Setting {
                name: "--eps",
                found: format!("{eps:?}"),
                expected: "a step must lie between 1e-30 and 1e3".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks the options on tolerances.
    ///
    /// # Errors
    /// [`Error::Setting`] if one is out of range.
    pub(super) fn validate_tolerances(&self) -> Result<()> {
        require_tolerance("--rtol", self.rtol)?;
        require_tolerance("--atol", self.atol)?;
        match self.min_power {
            Some(power) if !(power > 0.0 && power <= 1.0) => Err(Error::Setting {
                name: "--min-power",
                found: format!("{power:?}"),
                expected: "it must lie between 0 and 1".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks the range of rows, of `n`.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is empty, or beyond them.
    pub(super) fn validate_range(&self, n: usize) -> Result<()> {
        match &self.rows {
            Some(rows) if rows.is_empty() || rows.end > n => Err(Error::Setting {
                name: "--rows",
                found: format!("{}..{}", rows.start, rows.end),
                expected: format!("there are {n} rows; A..B needs A < B <= {n}"),
            }),
            _ => Ok(()),
        }
    }

    fn validate_rows(&self, problem: &Problem, subjects: &[Subject]) -> Result<()> {
        let parameter = subjects.iter().find(|subject| subject.wrt.is_parameter());
        let some_rows = [
            (self.rows.is_some(), "--rows"),
            (self.sample.is_some(), "--sample"),
        ];
        let given = some_rows.into_iter().find(|(is_given, _)| *is_given);
        if let (Some((_, name)), Some(parameter)) = (given, parameter) {
            let grad = parameter.wrt.grad_name();
            return Err(Error::Setting {
                name,
                found: "a selection of the samples".to_owned(),
                expected: format!("{grad} is a sum over all of them"),
            });
        }
        self.validate_range(problem.n())?;
        match self.sample {
            Some(RandomRows { rows: 0, .. }) => Err(Error::Setting {
                name: "--sample",
                found: "0".to_owned(),
                expected: "it must be at least 1".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

fn require_tolerance(name: &'static str, value: Option<f64>) -> Result<()> {
    match value {
        Some(value) if !(value >= 0.0 && value.is_finite()) => Err(Error::Setting {
            name,
            found: format!("{value:?}"),
            expected: "a tolerance must be a finite number that is not negative".to_owned(),
        }),
        _ => Ok(()),
    }
}
