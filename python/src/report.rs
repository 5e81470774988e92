//! Reports as Python sees them: JSON, and the texts of every format.

use std::{path::PathBuf, time::SystemTime};

use gradprobe::{
    output::{Run, html, json, markdown, text, words},
    problem::Layout,
    report::{self, Check},
    sweep::Sweep,
};
use pyo3::{exceptions::PyKeyError, prelude::*, types::PyBytes};

use crate::{
    case::{Checked, Numeric},
    error::case_error,
    words::in_python,
};

/// A report on one case.
#[pyclass(frozen, module = "gradprobe._native")]
pub(crate) struct Report {
    report: report::Report,
    sweeps: Vec<Option<Sweep>>,
    layouts: Vec<Option<Layout>>,
    numeric: Vec<Numeric>,
    /// The page, if a service has rendered it.
    page: Option<String>,
    name: PathBuf,
    time: SystemTime,
    is_of_file: bool,
}

impl Report {
    pub(crate) fn new(checked: Checked, is_of_file: bool) -> Self {
        let Checked {
            report,
            sweeps,
            layouts,
            numeric,
            name,
        } = checked;
        Self {
            report,
            sweeps,
            layouts,
            numeric,
            page: None,
            name,
            time: SystemTime::now(),
            is_of_file,
        }
    }

    /// Returns the report of a service.
    pub(crate) fn received(report: report::Report, page: Option<String>) -> Self {
        Self {
            layouts: vec![None; report.checks.len()],
            report,
            sweeps: Vec::new(),
            numeric: Vec::new(),
            page,
            name: PathBuf::new(),
            time: SystemTime::now(),
            is_of_file: false,
        }
    }

    fn runs(&self) -> [Run; 1] {
        let name = if self.is_of_file {
            self.name.display().to_string()
        } else {
            String::new()
        };
        let run = Run::new(name, self.report.clone(), self.sweeps.clone());
        [run.at(self.time)]
    }

    fn in_python(&self, text: &str) -> String {
        in_python(text, !self.is_of_file)
    }
}

#[pymethods]
impl Report {
    /// Returns the report as JSON, schema gradprobe/report/1.
    fn json(&self) -> String {
        json::render(&self.report)
    }

    /// Returns the report as a self-contained HTML page.
    fn html(&self) -> String {
        let page = self.page.clone();
        self.in_python(&page.unwrap_or_else(|| html::render(&self.runs())))
    }

    /// Returns the report as Markdown.
    fn markdown(&self) -> String {
        self.in_python(&markdown::render(&self.runs()))
    }

    /// Returns the report as text for a terminal.
    fn text(&self, coloured: bool, width: Option<usize>) -> String {
        self.in_python(&text::render(
            &self.report,
            text::Layout { coloured, width },
        ))
    }

    /// Returns a sentence for each gradient.
    fn sentences(&self) -> Vec<String> {
        let of_check = |check| self.in_python(&words::sentence(check));
        self.report.checks.iter().map(of_check).collect()
    }

    /// Returns the names of the gradients, with the cause or the verdict of those that did not pass.
    fn brief(&self) -> String {
        words::brief(&self.report)
    }

    /// Returns a text of the report's data in Python's words.
    fn translate(&self, text: &str) -> String {
        self.in_python(text)
    }

    /// Returns the numeric gradient of this name: its shape and its f64 values as bytes.
    fn numeric<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<(Vec<usize>, Bound<'py, PyBytes>)> {
        let numeric = self.numeric_of(name)?;
        let bytes = PyBytes::new_with(py, 8 * numeric.values.len(), |bytes| {
            for (bytes, value) in bytes.chunks_exact_mut(8).zip(&numeric.values) {
                bytes.copy_from_slice(&value.to_ne_bytes());
            }
            Ok(())
        })?;
        Ok((numeric.shape.clone(), bytes))
    }

    /// Returns the greatest absolute and relative difference of a gradient, each with its place
    /// among the entries.
    fn greatest(&self, name: &str) -> PyResult<[(f64, usize); 2]> {
        Ok(self.numeric_of(name)?.greatest)
    }

    /// Returns the report on the rows of both reports. They must be of the same gradients.
    fn merge(&self, other: &Self) -> PyResult<Self> {
        let (a, b) = (&self.report, &other.report);
        if a.checks.len() != b.checks.len() || a.problem != b.problem {
            return Err(case_error(
                "reports on different problems cannot be merged".to_owned(),
            ));
        }
        let pairs = a.checks.iter().zip(&b.checks).zip(&self.layouts);
        let checks: Option<Vec<Check>> = pairs
            .map(|((a, b), layout)| {
                let merged = a.comparison.as_deref()?.clone();
                let merged = merged.merge(b.comparison.as_deref()?.clone())?;
                // The causes are those of the part with more wrong entries.
                let causes = if a.wrong >= b.wrong { a } else { b };
                let (findings, tried) = (causes.findings.clone(), causes.tried.clone());
                Some(Check::new(merged, layout.as_ref(), findings, tried))
            })
            .collect();
        let checks = checks.ok_or_else(|| {
            case_error("these are not parts of one check: their settings differ".to_owned())
        })?;
        let mut merged = report::Report::new(a.device.clone(), a.problem.clone(), checks);
        merged.notes.clone_from(&a.notes);
        merged.seconds = a.seconds;
        Ok(Self {
            report: merged,
            sweeps: Vec::new(),
            layouts: self.layouts.clone(),
            numeric: Vec::new(),
            page: None,
            name: self.name.clone(),
            time: self.time.max(other.time),
            is_of_file: self.is_of_file,
        })
    }
}

impl Report {
    fn numeric_of(&self, name: &str) -> PyResult<&Numeric> {
        let mut kept = self.numeric.iter();
        let found = kept.find(|numeric| numeric.name == name);
        found.ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }
}
