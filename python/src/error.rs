//! Errors of the library as exceptions of the package, in Python's words.

use gradprobe::error::Error;
use pyo3::{exceptions::PyOSError, prelude::*, types::PyType};

use crate::words::in_python;

/// Returns the exception for an error of the library.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    match error {
        Error::Io { path, source, .. } => match source.raw_os_error() {
            // OSError makes FileNotFoundError and its like of a number.
            Some(code) => {
                let name = path.display().to_string();
                PyOSError::new_err((code, reason(source), name))
            }
            None => PyOSError::new_err(error.to_string()),
        },
        Error::NoDevice { .. }
        | Error::Gpu { .. }
        | Error::Miscomputes { .. }
        | Error::OraclesDisagree { .. } => of_class(py, "DeviceError", message(error)),
        Error::Service(_) => of_class(py, "GradprobeError", message(error)),
        _ => of_class(py, "CaseError", message(error)),
    }
}

/// Returns an exception for a case that cannot be checked.
pub(crate) fn case_error(message: String) -> PyErr {
    Python::attach(|py| of_class(py, "CaseError", message))
}

/// Returns the exception for a forked process, which lacks the threads that do the work.
pub(crate) fn forked() -> PyErr {
    let message = "gradprobe has run before this process was forked, so that its threads are \
                   missing here; start processes by spawn, as in \
                   multiprocessing.get_context(\"spawn\")";
    Python::attach(|py| of_class(py, "GradprobeError", message.to_owned()))
}

fn message(error: &Error) -> String {
    match error {
        Error::MissingTensor {
            name,
            path,
            present,
        } if is_call(path) => {
            let given = present.join(", ");
            format!("{name} is missing; {given} were given")
        }
        Error::NoGradient { path, present } if is_call(path) => format!(
            "there is no gradient to check: pass grad, grad_logits, grad_weight or grad_bias; \
             {} were given (self_test=True checks gradprobe's own backward pass)",
            present.join(", ")
        ),
        error => in_python(&error.to_string(), true),
    }
}

/// Returns true for the name that the library gives to arrays in memory.
fn is_call(path: &std::path::Path) -> bool {
    path == gradprobe::io::IN_MEMORY
}

/// Returns the system's description of an error, without the number that Rust appends.
fn reason(source: &std::io::Error) -> String {
    let text = source.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

fn of_class(py: Python<'_>, class: &str, message: String) -> PyErr {
    let class = py
        .import("gradprobe._errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| Ok(class.cast_into::<PyType>()?));
    match class {
        Ok(class) => PyErr::from_type(class, message),
        Err(error) => error,
    }
}
