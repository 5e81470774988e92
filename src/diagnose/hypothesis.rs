//! What a rule says: a cause, and the gradient with that cause undone.

use super::pair::Pair;
use crate::report::{Code, Finding};

/// A cause that would explain the errors, or some of them.
pub(super) struct Hypothesis {
    pub(super) finding: Finding,
    /// The correction that undoes the cause, in words: "divided by 10".
    pub(super) correction: String,
    /// How often it is met, next to other causes that explain the very same errors.
    pub(super) weight: f64,
    /// The pair once the cause is undone.
    pub(super) after: Pair,
    /// Whether the search ends with it though errors remain, which it says.
    pub(super) settles: bool,
    /// What to fall back on where nothing explains what is left.
    pub(super) fallback: Option<Fallback>,
}

/// A weaker claim of the same cause.
#[derive(Clone)]
pub(super) struct Fallback {
    pub(super) after: Pair,
    pub(super) correction: String,
    pub(super) confidence: f64,
    /// What is added to the message.
    pub(super) besides: String,
}

impl Hypothesis {
    /// `message` is one sentence that stands alone, `correction` says how the cause was undone: "divided by 10".
    pub(super) fn new(
        code: Code,
        after: Pair,
        correction: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let finding = Finding {
            confidence: 0.95,
            ..Finding::new(code, message, fix)
        };
        Self {
            finding,
            correction: correction.into(),
            weight: 1.0,
            after,
            settles: false,
            fallback: None,
        }
    }

    /// If nothing explains what is left, this explains more.
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

    /// The factor by which the gradient is off.
    pub(super) fn factor(mut self, factor: f64) -> Self {
        self.finding.factor = Some(factor);
        self.evidence("scale", factor)
    }

    pub(super) fn evidence(mut self, name: &'static str, value: f64) -> Self {
        self.finding.evidence.push((name.to_owned(), value));
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

    /// The one run that would tell it from what looks the same.
    pub(super) fn test(mut self, test: impl Into<String>) -> Self {
        self.finding.test = Some(test.into());
        self
    }

    /// The search ends here.
    pub(super) fn settling(mut self) -> Self {
        self.settles = true;
        self
    }
}

/// 10, 0.3333, 1.5e-7: four digits, and no more than it takes.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e15 || (magnitude > 0.0 && magnitude < 1e-3) {
        return format!("{value:.3e}");
    }
    if (value - value.round()).abs() <= 1e-9 * magnitude {
        return format!("{value:.0}");
    }
    let digits = (3 - magnitude.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let numbers = [
            10.0,
            1.0 / 3.0,
            9.9567,
            65536.0,
            1.5e-7,
            0.25,
            137.3,
            12345.678,
        ];
        let texts = numbers.map(number);
        assert_eq!(
            texts,
            [
                "10", "0.3333", "9.957", "65536", "1.500e-7", "0.25", "137.3", "12346"
            ]
        );
    }
}
