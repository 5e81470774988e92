//! Causes of errors, each with the evidence for it.

use serde::{Deserialize, Serialize};

use super::{Code, Ranges, ranges};
use crate::number;

/// A cause that explains the errors, or a part of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The place in the order of findings, from 1. Findings of one step are alternatives that the
    /// arrays cannot tell apart; those of the next step explain the errors that remain once the
    /// step before is undone.
    pub step: usize,
    /// The cause.
    pub code: Code,
    /// The factor by which the gradient is off, if the cause is one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "number::option"
    )]
    pub factor: Option<f64>,
    /// The confidence in the cause, from 0 to 1.
    #[serde(with = "number")]
    pub confidence: f64,
    /// One sentence that stands alone, without its full stop.
    pub message: String,
    /// The change that repairs the gradient.
    pub fix: String,
    /// Names and values of the numbers that support the cause.
    #[serde(with = "number::named")]
    pub evidence: Vec<(String, f64)>,
    /// The errors before and after the cause was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The places that show the cause; empty if all do.
    #[serde(rename = "where", default, skip_serializing_if = "Places::is_empty")]
    pub places: Places,
    /// The one run that would distinguish this cause from its alternatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

impl Finding {
    /// Returns a finding of the first step, with certainty, without numbers, and for the whole
    /// gradient.
    ///
    /// `message` is one sentence that stands alone, `fix` the change that repairs the gradient.
    pub fn new(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            step: 1,
            code,
            factor: None,
            confidence: 1.0,
            message: message.into(),
            fix: fix.into(),
            evidence: Vec::new(),
            proof: None,
            places: Places::default(),
            test: None,
        }
    }
}

/// Rows, columns and classes that show a cause. An empty set means that the cause does not depend
/// on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// The rows of the gradient.
    #[serde(
        default,
        skip_serializing_if = "Ranges::is_empty",
        with = "ranges::first_hundred"
    )]
    pub rows: Ranges,
    /// The columns of the gradient.
    #[serde(
        default,
        skip_serializing_if = "Ranges::is_empty",
        with = "ranges::first_hundred"
    )]
    pub columns: Ranges,
    /// The target classes.
    #[serde(
        default,
        skip_serializing_if = "Ranges::is_empty",
        with = "ranges::first_hundred"
    )]
    pub classes: Ranges,
}

impl Places {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty() && self.classes.is_empty()
    }
}

/// The errors before and after a cause was undone, over the entries that the diagnosis read: all of
/// them, or a sample of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The correction in words, as in "divided by 10"; empty if nothing was corrected.
    pub correction: String,
    /// True if the errors after the correction leave out one common factor, which the next finding
    /// explains.
    pub up_to_factor: bool,
    /// True if the diagnosis read a sample of the gradient's rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// Entries before and after; a correction may leave entries out.
    pub entries: [usize; 2],
    /// Wrong entries before and after.
    pub wrong: [usize; 2],
    /// `|analytic - right| / |right|` in the Frobenius norm, before and after. `right` is the
    /// closed form of the derivative, which the finite difference has confirmed, or what the cause
    /// makes of it.
    #[serde(with = "number::pair")]
    pub error: [f64; 2],
}
