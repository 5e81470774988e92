//! The native part of the Python package: arrays in, the library's reports out.
//!
//! It holds nothing that computes. `gradprobe/__init__.py` is the package's interface.

use std::{
    ffi::{CString, OsString},
    path::PathBuf,
};

use gradprobe::{
    cli,
    device::cpu_info,
    io::{self, Source},
    output,
    report::DeviceInfo,
    settings::Settings,
};
use pyo3::{exceptions::PyUserWarning, prelude::*, types::PyDict};

mod array;
mod case;
mod error;
mod opened;
mod parts;
mod report;
mod task;
mod words;

use case::{Case, Request};
use report::Report;

/// Checks the gradients of a case. See `gradprobe.check`.
#[pyfunction]
#[pyo3(signature = (case, settings, *, notes, device, memory, picture, numeric))]
fn check(
    py: Python<'_>,
    case: Case,
    settings: Vec<(String, String)>,
    notes: Vec<String>,
    device: String,
    memory: u64,
    picture: Option<bool>,
    numeric: bool,
) -> PyResult<Report> {
    let request = Request {
        settings: Settings::parse(&settings).map_err(|error| error::raised(py, &error))?,
        notes,
        device,
        memory,
        picture,
        numeric,
    };
    let is_of_file = case.is_of_file();
    let checked = task::run(py, move |interrupts| case.check(&request, interrupts))?;
    let checked = checked.map_err(|error| error::raised(py, &error))?;
    Ok(Report::new(checked, is_of_file))
}

/// Lets a service check a file. See `gradprobe.check`, argument `server`.
#[pyfunction]
#[pyo3(signature = (path, settings, *, notes, server, token_file, picture))]
fn check_by_service(
    py: Python<'_>,
    path: PathBuf,
    settings: Vec<(String, String)>,
    notes: Vec<String>,
    server: String,
    token_file: Option<PathBuf>,
    picture: Option<bool>,
) -> PyResult<Report> {
    let html = picture == Some(true);
    let run = task::run(py, move |interrupts| {
        let token = token_file.as_deref();
        cli::check_by_service(&server, token, settings, html, &path, &interrupts)
    })?;
    let failed = |error| error::raised(py, &error);
    let run = run.map_err(failed)?;
    let run = run.ok_or_else(|| error::case_error("the check was interrupted".to_owned()))?;
    let mut report = run.outcome.map_err(failed)?;
    report.notes.splice(0..0, notes);
    Ok(Report::received(report, run.page))
}

/// Sweeps over the step for each gradient of a case. Returns tuples of the gradient's name, the
/// points, the conclusion, and the table as text. See `gradprobe.sweep`.
#[pyfunction]
#[pyo3(signature = (case, settings, *, steps, device))]
#[allow(clippy::type_complexity)]
fn sweep(
    py: Python<'_>,
    case: Case,
    settings: Vec<(String, String)>,
    steps: (f64, f64),
    device: String,
) -> PyResult<Vec<(String, Vec<[f64; 4]>, Option<String>, String)>> {
    let settings = Settings::parse(&settings).map_err(|error| error::raised(py, &error))?;
    let swept = task::run(py, move |_| case.sweep(&settings, steps, &device))?;
    let (swept, skipped) = swept.map_err(|error| error::raised(py, &error))?;
    for reason in skipped {
        let category = py.get_type::<PyUserWarning>();
        PyErr::warn(py, &category, &CString::new(reason)?, 2)?;
    }
    let of_one = |sweep: gradprobe::sweep::Sweep| {
        let points = sweep.points.iter();
        let points = points.map(|at| [at.eps, at.difference, at.forward_pass, at.floor]);
        let text = words::in_python(&output::sweep::render(&sweep), true);
        let name = sweep.wrt.grad_name().to_owned();
        (name, points.collect(), sweep.conclusion(), text)
    };
    Ok(swept.into_iter().map(of_one).collect())
}

/// Writes the arrays and settings of a case to a .safetensors file. See `gradprobe.save_case`.
#[pyfunction]
fn save_case(
    py: Python<'_>,
    path: PathBuf,
    arrays: &Bound<'_, PyDict>,
    settings: Vec<(String, String)>,
) -> PyResult<()> {
    let tensors = case::tensors(arrays)?;
    let saved = py.detach(|| io::save_tensors(&path, &tensors, &settings));
    saved.map_err(|error| error::raised(py, &error))
}

/// Returns a case of arrays by name.
#[pyfunction]
fn case_of_arrays(arrays: &Bound<'_, PyDict>) -> PyResult<Case> {
    let source = Source::Tensors(case::tensors(arrays)?);
    Ok(Case::new(source))
}

/// Returns the case of a .safetensors or .npz file.
#[pyfunction]
fn case_of_file(path: PathBuf) -> Case {
    Case::new(Source::File(path))
}

/// Returns the address and the number of the bytes of an array, as a check reads it.
#[pyfunction]
#[pyo3(signature = (array, dtype=None))]
fn memory_of(array: &Bound<'_, PyAny>, dtype: Option<&str>) -> PyResult<(usize, usize)> {
    let tensor = array::tensor("array", array, dtype)?;
    let bytes = tensor.as_bytes();
    Ok((bytes.as_ptr().addr(), bytes.len()))
}

/// Returns the devices that can compute: index, name, type, backend and driver of each.
#[pyfunction]
fn devices(py: Python<'_>) -> Vec<(usize, String, String, String, String)> {
    let infos: Vec<DeviceInfo> = py.detach(|| {
        let adapters = gradprobe::gpu::adapters();
        let infos = adapters.iter().map(|adapter| adapter.info().clone());
        std::iter::once(cpu_info()).chain(infos).collect()
    });
    let row = |(index, info): (usize, DeviceInfo)| {
        let kind = info.kind.to_string();
        (index, info.name, kind, info.backend, info.driver)
    };
    infos.into_iter().enumerate().map(row).collect()
}

/// Runs the command line. Returns its exit code, or the message of an error that exits with 2.
#[pyfunction]
fn run(py: Python<'_>, arguments: Vec<OsString>) -> (u8, Option<String>) {
    match py.detach(|| cli::run(arguments)) {
        Ok(code) => (code, None),
        Err(error) => (2, Some(error.to_string())),
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Report>()?;
    module.add_class::<Case>()?;
    module.add_function(wrap_pyfunction!(check, module)?)?;
    module.add_function(wrap_pyfunction!(check_by_service, module)?)?;
    module.add_class::<parts::Parts>()?;
    module.add_class::<parts::Merged>()?;
    module.add_function(wrap_pyfunction!(sweep, module)?)?;
    module.add_function(wrap_pyfunction!(save_case, module)?)?;
    module.add_function(wrap_pyfunction!(case_of_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(case_of_file, module)?)?;
    module.add_function(wrap_pyfunction!(memory_of, module)?)?;
    module.add_function(wrap_pyfunction!(devices, module)?)?;
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(task::finish, module)?)
}
