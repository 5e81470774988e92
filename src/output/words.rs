//! The words that all formats share: the verdict in a sentence, labels with their facts, numbers.

mod date;
mod facts;
mod layers;
mod numbers;
mod sentence;
mod steps;
mod summary;

pub use date::date;
pub use facts::{
    agreement, correction, details, device, error_size, facts, problem, proof, time, tried,
};
pub use layers::layers;
pub use numbers::{counted, group, measured, rounded, short};
pub use sentence::sentence;
pub use steps::steps;
pub use summary::{brief, counts, heading};

use crate::report::{Code, Finding};

/// The first line of a report on a run that was interrupted.
pub const INTERRUPTED: &str = "INTERRUPTED: not all rows were compared, or not all causes tried.";

/// Returns the codes with `separator` between them.
pub fn listed(codes: &[Code], separator: &str) -> String {
    let codes: Vec<String> = codes.iter().map(Code::to_string).collect();
    codes.join(separator)
}

/// Returns the confidence in a cause, to be appended to its code.
pub fn confidence(finding: &Finding) -> String {
    match finding.code {
        Code::Unknown => String::new(),
        _ => format!(", confidence {:.0} %", 100.0 * finding.confidence),
    }
}
