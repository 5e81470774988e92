//! A cause that a rule proposes, and the pair with that cause undone.

use super::{pair::Pair, words::Words};
use crate::report::{Code, Finding};

/// A cause that would explain the errors, or some of them.
pub(super) struct Hypothesis {
    pub(super) finding: Finding,
    /// Opening of the proof: see [`Words`].
    pub(super) correction: String,
    /// Frequency of the cause relative to others that explain the same errors. Chosen.
    pub(super) weight: f64,
    /// The pair with the cause undone.
    pub(super) after: Pair,
    /// True if the search ends with this cause, even if errors remain.
    pub(super) settles: bool,
    /// Weaker form of the cause, tried if no rule explains `after`.
    pub(super) fallback: Option<Fallback>,
}

/// A weaker form of a cause, which explains more errors.
#[derive(Clone)]
pub(super) struct Fallback {
    pub(super) after: Pair,
    pub(super) correction: String,
    pub(super) confidence: f64,
    /// Text to append to the message.
    pub(super) addition: String,
}

impl Hypothesis {
    /// Proposes a cause with confidence 0.95, which rules raise or lower.
    pub(super) fn new(code: Code, after: Pair, words: Words) -> Self {
        let finding = Finding {
            confidence: 0.95,
            test: words.test,
            ..Finding::new(code, words.message, words.fix)
        };
        Self {
            finding,
            correction: words.correction,
            weight: 1.0,
            after,
            settles: false,
            fallback: None,
        }
    }

    pub(super) fn or_else(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    pub(super) fn weighing(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn confidence(mut self, confidence: f64) -> Self {
        self.finding.confidence = confidence;
        self
    }

    /// Reports the factor by which the gradient is off.
    pub(super) fn factor(mut self, factor: f64) -> Self {
        self.finding.factor = Some(factor);
        self.evidence("scale", factor)
    }

    /// Adds a number that the finding rests on, if it is finite.
    pub(super) fn evidence(mut self, name: &'static str, value: f64) -> Self {
        if value.is_finite() {
            self.finding.evidence.push((name.to_owned(), value));
        }
        self
    }

    pub(super) fn rows(mut self, rows: impl IntoIterator<Item = usize>) -> Self {
        self.finding.places.rows = rows.into_iter().collect();
        self
    }

    pub(super) fn columns(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.finding.places.columns = columns.into_iter().collect();
        self
    }

    pub(super) fn classes(mut self, classes: impl IntoIterator<Item = usize>) -> Self {
        self.finding.places.classes = classes.into_iter().collect();
        self
    }

    /// Ends the search with this cause.
    pub(super) fn settling(mut self) -> Self {
        self.settles = true;
        self
    }
}
