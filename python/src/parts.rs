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

/// The results of parts that have been merged.
#[pyclass(module = "gradprobe._native")]
#[derive(Default)]
pub(crate) struct Merged(Option<parts::Partial>);

/// The name of an index or a part that comes from Python.
fn in_memory() -> &'static Path {
    Path::new("memory")
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
                None => cli::index(&files, shared)?.absolute(),
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

    /// Checks some units. Returns the result as JSON.
    fn run(
        &self,
        py: Python<'_>,
        first: usize,
        end: usize,
        device: String,
        memory: u64,
    ) -> PyResult<String> {
        let case = Arc::clone(&self.0);
        let run = move |mut interrupts| -> Result<String> {
            let device = opened::device(&device, memory)?;
            let partial = case.run(first..end, &device, &mut interrupts)?;
            Ok(partial.to_json())
        };
        task::run(py, run)?.map_err(|error| error::raised(py, &error))
    }

    /// Returns the report on merged parts.
    fn finish(&self, py: Python<'_>, merged: &Merged) -> PyResult<Report> {
        let (case, partial) = (Arc::clone(&self.0), merged.0.clone());
        let partial = partial
            .ok_or_else(|| error::case_error("no part of the case was checked".to_owned()))?;
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
impl Merged {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// True if no part was added.
    #[getter]
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds the result of a part, as JSON.
    fn add(&mut self, py: Python<'_>, text: &str) -> PyResult<()> {
        // A part that does not belong to the others leaves them as they are.
        let merged = self.0.clone();
        let added = py.detach(|| {
            let partial = parts::Partial::from_json(text, in_memory())?;
            match merged {
                Some(merged) => merged.merge(partial),
                None => Ok(partial),
            }
        });
        self.0 = Some(added.map_err(|error| error::raised(py, &error))?);
        Ok(())
    }
}
