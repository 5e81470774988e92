//! A case in many files, checked in parts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use gradprobe::{
    cli,
    error::Result,
    parts::{self, Index},
    settings::Settings,
};
use pyo3::prelude::*;

use crate::{case::Checked, error, opened, report::Report, task};

/// A case in many files, and the settings of its check.
#[pyclass(frozen, module = "gradprobe._native")]
pub(crate) struct Parts(Arc<parts::Case>);

/// The result of some units of a case.
#[pyclass(frozen, module = "gradprobe._native")]
pub(crate) struct Partial(parts::Partial);

/// The name of an index or a partial that comes from Python.
fn in_memory() -> &'static Path {
    Path::new("memory")
}

/// Returns the index of the files: the one that the only file holds, or a new one.
fn index(files: &[PathBuf], shared: Option<PathBuf>, settings: &Settings) -> Result<Index> {
    if let [file] = files
        && file
            .extension()
            .is_some_and(|extension| extension == "json")
        && !file.to_string_lossy().ends_with(".safetensors.index.json")
    {
        return Index::read(file);
    }
    let mut expanded = Vec::new();
    for file in files {
        expanded.extend(cli::expand(file)?);
    }
    expanded.retain(|file| shared.as_ref() != Some(file));
    Index::of_files(expanded, shared, &settings.loss.request(None))
}

#[pymethods]
impl Parts {
    /// Indexes files, or takes an index as JSON.
    #[new]
    #[pyo3(signature = (settings, memory, *, files=Vec::new(), shared=None, index=None))]
    fn new(
        py: Python<'_>,
        settings: Vec<(String, String)>,
        memory: u64,
        files: Vec<PathBuf>,
        shared: Option<PathBuf>,
        index: Option<String>,
    ) -> PyResult<Self> {
        let case = move || -> Result<parts::Case> {
            let parsed = Settings::parse(&settings)?;
            let index = match index {
                Some(index) => Index::from_json(&index, in_memory())?,
                None => self::index(&files, shared, &parsed)?.absolute(),
            };
            let request = parsed.loss.request(Some(memory));
            let case = parts::Case::new(index, request, parsed.options(false))?;
            Ok(case.with_settings(settings))
        };
        let case = task::run(py, |_| case())?;
        let case = case.map_err(|error| error::raised(py, &error))?;
        Ok(Self(Arc::new(case)))
    }

    /// The number of units.
    #[getter]
    fn units(&self) -> usize {
        self.0.units()
    }

    /// The number of rows in all files.
    #[getter]
    fn rows(&self) -> usize {
        self.0.rows()
    }

    /// Returns the index as JSON.
    fn index(&self) -> String {
        self.0.index().to_json()
    }

    /// Returns the index of the files of some units as JSON.
    fn extract(&self, first: usize, end: usize) -> String {
        self.0.extract(first..end).to_json()
    }

    /// Checks some units.
    fn run(
        &self,
        py: Python<'_>,
        first: usize,
        end: usize,
        device: String,
        memory: u64,
    ) -> PyResult<Partial> {
        let case = Arc::clone(&self.0);
        let run = move |mut interrupts| -> Result<parts::Partial> {
            let device = opened::device(&device, memory)?;
            case.run(first..end, &device, &mut interrupts)
        };
        let partial = task::run(py, run)?;
        let partial = partial.map_err(|error| error::raised(py, &error))?;
        Ok(Partial(partial))
    }

    /// Returns the report on the units of a partial.
    fn finish(&self, py: Python<'_>, partial: &Partial) -> PyResult<Report> {
        let (case, partial) = (Arc::clone(&self.0), partial.0.clone());
        let finish = move |_| -> Result<Checked> {
            let device = opened::device("cpu", 1 << 30)?;
            let report = case.finish(partial, &device)?;
            Ok(Checked {
                layouts: vec![None; report.checks.len()],
                sweeps: Vec::new(),
                numeric: Vec::new(),
                name: PathBuf::from("parts"),
                report,
            })
        };
        let checked = task::run(py, finish)?;
        let checked = checked.map_err(|error| error::raised(py, &error))?;
        Ok(Report::new(checked, true))
    }
}

#[pymethods]
impl Partial {
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        let partial = py.detach(|| parts::Partial::from_json(text, in_memory()));
        partial.map(Self).map_err(|error| error::raised(py, &error))
    }

    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    /// Returns the partial of both.
    fn merge(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        let merged = py.detach(|| self.0.clone().merge(other.0.clone()));
        merged.map(Self).map_err(|error| error::raised(py, &error))
    }

    /// The number of units that are done.
    #[getter]
    fn units(&self) -> usize {
        self.0.units.len()
    }
}
