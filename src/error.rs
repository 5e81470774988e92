//! The error type of the crate. Each message gives what is wrong and where, what was expected and
//! what was found, in one sentence that a PyTorch user can act on.

use std::path::PathBuf;

/// Result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason why a check could not run. A wrong gradient is not an error but a
/// [`Verdict`](crate::report::Verdict).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system could not read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file does not have the format that its name indicates: it is truncated, or its header is
    /// invalid.
    #[error("{} is not a readable {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `safetensors`, `npy` or `npz`.
        format: &'static str,
        /// The defect.
        reason: String,
    },
    /// A file lacks a tensor that the check needs.
    #[error("{} holds no tensor named {name}; it holds {}", path.display(), list(present))]
    MissingTensor {
        /// The missing name.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// The names in the file.
        present: Vec<String>,
    },
    /// A file holds no gradient.
    #[error(
        "{} holds no gradient to check: none of grad, grad_logits, grad_weight and grad_bias; \
         it holds {} (--self-test checks gradprobe's own backward pass)",
        path.display(),
        list(present)
    )]
    NoGradient {
        /// The file.
        path: PathBuf,
        /// The names in the file.
        present: Vec<String>,
    },
    /// The shape of a tensor does not fit the others.
    #[error("{name} has shape {found:?}, but {expected}")]
    Shape {
        /// The tensor.
        name: &'static str,
        /// A clause such as `it must be [3, 2], the shape of input`.
        expected: String,
        /// The shape of the tensor.
        found: Vec<usize>,
    },
    /// A model cannot be built from its description and the tensors of the file.
    #[error("model: {node}: {reason}")]
    Model {
        /// The node, or a part of the description.
        node: String,
        /// The defect.
        reason: String,
    },
    /// A tensor has an element type that its role does not allow.
    #[error("{name} holds {found}, but must hold {expected}")]
    Dtype {
        /// The tensor.
        name: String,
        /// The allowed element types.
        expected: &'static str,
        /// The element type of the tensor.
        found: String,
    },
    /// An input of the loss is NaN or infinite.
    #[error("{name}[{}] is {value}, but the loss needs finite values", join(index))]
    NotFinite {
        /// The tensor.
        name: &'static str,
        /// The entry.
        index: Vec<usize>,
        /// The value, NaN or infinite.
        value: f64,
    },
    /// A target is not the index of a class.
    #[error(
        "target[{}] is {found}, but there are {classes} classes (0 to {}); {}",
        join(index),
        classes - 1,
        if *starts_at_one {
            "the labels start at 1, so subtract 1 from each".to_owned()
        } else {
            format!("pass --ignore-index {found} if it marks padding")
        }
    )]
    Target {
        /// The sample.
        index: Vec<usize>,
        /// The target.
        found: i64,
        /// The number of classes, k.
        classes: usize,
        /// True if all targets lie between 1 and k.
        starts_at_one: bool,
    },
    /// An option, or a setting in a file, has an invalid value.
    #[error("{name} is {found}, but {expected}")]
    Setting {
        /// The flag, or the name in the file.
        name: &'static str,
        /// The value that was given.
        found: String,
        /// A clause such as `it must lie between 0 and 1`.
        expected: String,
    },
    /// The command line or the configuration file is invalid.
    #[error("{0}")]
    Usage(String),
    /// A service refused a request, or could not be reached.
    #[error("{0}")]
    Service(String),
    /// No device matches the value of `--device`.
    #[error("no device matches \"{asked}\"; available: {}", list(present))]
    NoDevice {
        /// The value of `--device`.
        asked: String,
        /// The names of all devices.
        present: Vec<String>,
    },
    /// The driver of a GPU reported a fault, or the problem exceeds the limits of the adapter.
    #[error("{device} failed: {reason}; use --device cpu")]
    Gpu {
        /// The adapter.
        device: String,
        /// The driver's message, or the limit that is exceeded.
        reason: String,
    },
    /// An adapter computed wrong results in the self-probe.
    #[error(
        "{device} failed the self-probe: kernel {kernel} is off by {error:.1e}, \
         more than the allowed {bound:.1e}; use --device cpu"
    )]
    Miscomputes {
        /// The adapter.
        device: String,
        /// The kernel with the wrong result.
        kernel: &'static str,
        /// The largest error of the kernel.
        error: f64,
        /// The largest error that rounding explains.
        bound: f64,
    },
    /// The device's finite difference and the CPU's forward passes disagree, so no verdict is
    /// given.
    #[error(
        "{device} and the CPU disagree on the derivative at {place}: \
         {numeric:e} and {on_host:e} differ by more than {bound:.1e}; \
         the fault is in the device or in gradprobe, not in the gradient"
    )]
    OraclesDisagree {
        /// The device that computed the numeric gradient.
        device: String,
        /// The entry, such as `grad[3,5]`.
        place: String,
        /// The device's derivative.
        numeric: f64,
        /// The CPU's derivative.
        on_host: f64,
        /// The largest difference that rounding and truncation explain.
        bound: f64,
    },
}

impl Error {
    /// Returns an error on a node of a model.
    pub(crate) fn model(node: &str, reason: impl Into<String>) -> Self {
        Self::Model {
            node: node.to_owned(),
            reason: reason.into(),
        }
    }

    /// Returns a function that wraps an error of the operating system. `action` is a verb such as
    /// `read`.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn join(index: &[usize]) -> String {
    let numbers: Vec<String> = index.iter().map(usize::to_string).collect();
    numbers.join(",")
}

/// Quotes text from a file in a message: truncates it to 80 characters, a line of a terminal, and
/// replaces control characters.
pub(crate) fn short(text: &str) -> String {
    const LIMIT: usize = 80;
    let is_long = text.chars().nth(LIMIT).is_some();
    let printable = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let start = text.chars().take(LIMIT).map(printable);
    start.chain(is_long.then_some('…')).collect()
}

/// Joins names from a file with commas. Lists the first 20, enough for every tensor of a check, and
/// counts the rest.
pub(crate) fn list(names: &[String]) -> String {
    const LIMIT: usize = 20;
    let listed: Vec<String> = names.iter().take(LIMIT).map(|name| short(name)).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > LIMIT => format!("{} and {} more", listed.join(", "), count - LIMIT),
        _ => listed.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_file_fits_into_a_line() {
        assert_eq!(short("mean"), "mean");
        assert_eq!(short("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(short(&"ü".repeat(1000)).chars().count(), 81);
        let names: Vec<String> = (0..22).map(|i| format!("t{i}")).collect();
        assert!(list(&names).ends_with("t18, t19 and 2 more"));
    }
}
