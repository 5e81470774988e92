//! The one error type: what went wrong, where, what was expected and what was found.
//! Every message is one sentence that a user of PyTorch can act on.

use std::path::PathBuf;

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a check could not be run. A wrong gradient is no error: it is a [`crate::report::Verdict`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says: cut short, a header that lies, a type that does not exist.
    #[error("{} is not a readable {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `safetensors`, `npy` or `npz`.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file holds no tensor of a name that the check needs.
    #[error("{} holds no tensor named {name}; it holds {}", path.display(), list(present))]
    MissingTensor {
        /// The name that was looked for.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// The names that are there.
        present: Vec<String>,
    },
    /// A tensor's shape does not fit the others.
    #[error("{name} has shape {found:?}, but {expected}")]
    Shape {
        /// The tensor.
        name: &'static str,
        /// What it must be, and why.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor's element type cannot be used where it stands.
    #[error("{name} holds {found}, but {expected} are expected")]
    Dtype {
        /// The tensor.
        name: String,
        /// The element types that would do.
        expected: &'static str,
        /// The element type it has.
        found: String,
    },
    /// An operand of the forward pass holds NaN or an infinity.
    #[error(
        "{name}[{}] is {value}, but every number that the loss is computed from must be finite",
        places(index)
    )]
    NotFinite {
        /// The tensor.
        name: &'static str,
        /// The entry.
        index: Vec<usize>,
        /// NaN or an infinity.
        value: f64,
    },
    /// A target is not a class.
    #[error("target[{row}] is {found}, but weight has {classes} rows (classes 0 to {}); set --ignore-index if it marks padding", classes - 1)]
    Target {
        /// The sample.
        row: usize,
        /// The class it names.
        found: i64,
        /// How many classes there are.
        classes: usize,
    },
    /// An option's value, or a part of the loss that a file asks for, cannot be used.
    #[error("{name} is {found}, but {expected}")]
    Setting {
        /// The flag or the name in the file.
        name: &'static str,
        /// What was given.
        found: String,
        /// What can be used.
        expected: String,
    },
    /// The command line, or the file of settings that completes it, asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// A service does not check what it was sent, or cannot be reached.
    #[error("{0}")]
    Service(String),
    /// No device goes by the name that was asked for.
    #[error("no device matches \"{asked}\"; present: {}", list(present))]
    NoDevice {
        /// The value of `--device`.
        asked: String,
        /// The devices that are there.
        present: Vec<String>,
    },
    /// The GPU's driver reported a fault, or the work does not fit its limits.
    #[error("{device} cannot do the work: {reason}; --device cpu needs no driver")]
    Gpu {
        /// The adapter.
        device: String,
        /// What its driver, or its limits, say.
        reason: String,
    },
    /// An adapter gave wrong results on the self-probe.
    #[error(
        "{device} miscomputes: its {kernel} is off by {error:.1e} where {bound:.1e} is allowed, so it is not used; --device cpu needs no driver"
    )]
    Miscomputes {
        /// The adapter.
        device: String,
        /// The kernel that is wrong.
        kernel: &'static str,
        /// The largest error seen.
        error: f64,
        /// The largest error that rounding explains.
        bound: f64,
    },
    /// The device's difference and the host's own forward passes do not agree, so neither convicts.
    #[error(
        "{device} and the host disagree on the derivative at {place}: {numeric:e} against {judge:e}, farther apart than the {bound:.1e} that rounding explains; this is a fault of the device or of gradprobe, not of the gradient"
    )]
    OraclesDisagree {
        /// The device that computed the numeric gradient.
        device: String,
        /// The entry, `grad[3,5]`.
        place: String,
        /// The device's derivative.
        numeric: f64,
        /// The host's derivative.
        judge: f64,
        /// How far apart rounding and truncation could put them.
        bound: f64,
    },
}

impl Error {
    /// Of what the operating system says: `action` is `read`, `write` or the like, `path` what it was to be done to.
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

fn places(index: &[usize]) -> String {
    index
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A text of a file, of whatever length and characters, as it may stand in a line.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 80;
    let is_long = text.chars().nth(MOST).is_some();
    let printed = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let begin = text.chars().take(MOST).map(printed);
    begin.chain(is_long.then_some('…')).collect()
}

/// Names, of which a file may hold any number.
pub(crate) fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let told: Vec<_> = names.iter().take(MOST).map(|name| short(name)).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        of if of > MOST => format!("{} and {} more", told.join(", "), of - MOST),
        _ => told.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_fits_into_a_line() {
        assert_eq!(short("mean"), "mean");
        assert_eq!(short("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(short(&"ü".repeat(1000)).chars().count(), 81);
        let names: Vec<String> = (0..22).map(|i| format!("t{i}")).collect();
        assert!(list(&names).ends_with("t18, t19 and 2 more"));
    }
}
